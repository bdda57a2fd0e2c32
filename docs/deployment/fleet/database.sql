-- Run once, by the image of PostgreSQL, when the database is empty. It needs PostgreSQL 15 or later (\getenv).
\getenv password POSTGRES_PASSWORD
CREATE ROLE hooks LOGIN PASSWORD :'password';
CREATE DATABASE hooks OWNER hooks;
-- the administrator connects from within the container, without a password; from elsewhere not at all
ALTER ROLE postgres PASSWORD NULL;
