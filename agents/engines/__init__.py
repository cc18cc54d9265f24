"""How a policy samples: one engine per file, all behind `protocol.Engine`."""
