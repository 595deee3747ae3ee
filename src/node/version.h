// version.h: who we are, and which version of the original's protocols and files we speak.
#pragma once
#define LIGHTCONE_VERSION            "0.1.0"
#define LIGHTCONE_COMPATIBLE_VERSION "2.8.3"
