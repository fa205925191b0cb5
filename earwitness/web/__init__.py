"""A detector over HTTP: the service for other programs. Extra ``serve``."""

from earwitness.web.service import ServiceSettings, create_service

__all__ = ["ServiceSettings", "create_service"]
