"""Environments for clients of other processes: sessions as JSON, and the gate before a server."""

from reason_env.serving.config import ServingConfig
from reason_env.serving.gate import App, Gate, fault_of_message
from reason_env.serving.session import RESET_KEYS, Session, Sessions

__all__ = ["RESET_KEYS", "App", "Gate", "ServingConfig", "Session", "Sessions", "fault_of_message"]
