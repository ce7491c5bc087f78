"""Adapters for other people's frameworks: translation only, every decision about retrieval is `SearchKit`'s.

Import each by its full name, so that no framework needs another: ``searchkit.integrations.langchain`` (extra
``langchain``), ``searchkit.integrations.llamaindex`` (extra ``llamaindex``).
"""
