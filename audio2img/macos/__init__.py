"""One press on a Mac: Quick Actions for Finder and the Services menu, and Shortcuts.

actions says which there are; command finds the program that they call; scripts writes the zsh text
inside them; automator and shortcuts put it into the files that macOS reads; install writes, compares
and removes those; system calls the programs of macOS.
"""
