"""What public lists know of a CVE, from files that the operator provides: a finding's data come in; whether the CVE is
known to be exploited, and how likely it is to be, go out. Nothing is fetched, and a file is read when the first CVE
comes."""
