"""The script that Streamlit runs for every page: the menu, and the page that was asked for."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards import navigation, parts

_STATIC = Path(__file__).parent / "static"

# An icon by name would be asked of another host: these files are served from here.
st.set_page_config(page_title="diffuscope", page_icon=str(_STATIC / "icon.svg"), layout="wide")
st.logo(str(_STATIC / "logo.svg"), size="large")
st.html(f"<style>{parts.CSS}</style>")
st.navigation([navigation.page(entry.path) for entry in navigation.ENTRIES], position="top").run()
