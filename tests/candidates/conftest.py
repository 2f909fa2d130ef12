from tests.candidates.api_program import briefing, maya, program, waiting

__all__ = ["briefing", "maya", "program", "waiting"]
