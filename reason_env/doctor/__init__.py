"""What a user's machine has and lacks, for `reason-env doctor`. Needs the core's packages only."""

from reason_env.doctor.diagnosis import diagnose
from reason_env.doctor.finding import Finding, Status
from reason_env.doctor.requirements import PURPOSE, module_of

__all__ = ["PURPOSE", "Finding", "Status", "diagnose", "module_of"]
