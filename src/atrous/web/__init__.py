"""The page and the HTTP interface of `atrous serve`; needs the extra `web`."""
