"""The MES REST API: FastAPI over the store. One router per resource; SQL stays in ``central.store``."""
