"""The script that Streamlit runs for every page: the menu, and the page that was asked for.

It lies in a folder of its own: of a `pages` folder beside it Streamlit would make pages by itself.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from dashboards import navigation

_STATIC = Path(__file__).parents[1] / "static"

# An icon by name would be asked of another host: these files are served from here.
st.set_page_config(page_title="diffuscope", page_icon=str(_STATIC / "icon.svg"), layout="wide")
st.logo(str(_STATIC / "logo.svg"), size="large")
st.html(_STATIC / "app.css")
shown = st.navigation([navigation.page(entry.path) for entry in navigation.ENTRIES], position="hidden")
navigation.menu(shown.url_path)
shown.run()
