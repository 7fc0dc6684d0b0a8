"""`python -m medattack_edu` does what `medattack` does, also where scripts aren't on the path."""

from medattack_edu.cli import main

raise SystemExit(main())
