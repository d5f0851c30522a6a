"""python -m smartremote_cli"""

from .cli import main

main()
