"""The relay's real code against models of Postgres and Redis, every interleaving hypothesis' own.

`postgres` and `redis` are the models; a call to either waits in `scheduler` until somebody lets it happen;
`machine` and `wake_machine` choose what happens next; `audit` judges.
"""
