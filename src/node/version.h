// version.h: who we are, and which version of the original's protocols and files we speak.
#pragma once
// What clients of PostgreSQL's protocol are told: whose dialect of the protocol and catalog they get.
#define PG_SERVER_VERSION            "15.0 (Lightcone " LIGHTCONE_VERSION ")"
#define LIGHTCONE_VERSION            "0.1.0"
#define LIGHTCONE_COMPATIBLE_VERSION "2.8.3"
