complete --keep-order --exclusive --command impaxlink --arguments "(COMPLETE=fish impaxlink -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
