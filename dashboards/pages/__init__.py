"""Pages: thin, one question each. They read through `dashboards.data` and draw through `dashboards.charts`."""
