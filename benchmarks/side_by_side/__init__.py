"""`make bench`: the speed of our attacks side by side with other libraries', in one run; and how it grows.

    python -m benchmarks.side_by_side --help

`peers` finds the libraries, `gradients`, `questions` and `patches` say how each is called, `rounds` times them in turns,
`growth` measures ours alone, `page` and `figures` write what was found. Strength is measured in the scripts beside this folder.
"""
