"""What operators see and what runs beside the requests: logs, access log, housekeeping."""
