"""Reports to look at: a page of HTML and its figures."""
