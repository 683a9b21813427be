#!/bin/sh
# The services' role, which owns their database and, not being a superuser, is held by row security. The image's entrypoint runs this
# once, when it makes the data folder. After it the superuser has no password: it comes in through the container's own socket only.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\getenv password POSTGRES_PASSWORD
CREATE ROLE steno LOGIN PASSWORD :'password';
ALTER DATABASE steno OWNER TO steno;
ALTER ROLE CURRENT_USER PASSWORD NULL;
SQL
