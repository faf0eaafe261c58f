/* The program after us, and the one before us (USR2). Called by the arbiter. */
#ifndef MC_PROCESS_UPGRADE_H
#define MC_PROCESS_UPGRADE_H

#include "core/base/base.h"

#include <sys/types.h>

struct mc_arbiter;
struct mc_conf;

/* The path by which this program was started: not what a link led to, so that a replaced program is found. argv0 as it was given, in `dir`, or on
 * PATH; when it does not lead to the program that runs (a false name, a removed directory), the program's own path. Free it. NULL: no memory. */
char *mc_upgrade_program(const char *argv0, const char *dir, const char *path);

/* At the start: our nameplate; the program before us, if we are an upgrade of one. MC_OK or MC_ERROR (logged). */
int mc_upgrade_open(struct mc_arbiter *a);
/* The program before us still lives: no background, the pidfile has another name. */
bool mc_upgrade_pending(void);
/* USR2: start the program after us, or say why not. */
void mc_upgrade_begin(struct mc_arbiter *a);
/* The one after us lives. */
bool mc_upgrade_has_heir(void);
/* Our listeners are open: what of the sockets of the program before us we have taken it must leave alone. */
void mc_upgrade_listening(struct mc_arbiter *a);
/* On each turn: is it our place now? Have our workers begun? */
void mc_upgrade_tend(struct mc_arbiter *a);
/* A child that is no kid: true when it was the one after us. */
bool mc_upgrade_reaped(struct mc_arbiter *a, pid_t pid, int status);
/* May our workers leave for the sake of the one after us (WINCH)? There is none; it leaves itself; now: should that one end, they come back; later:
 * when it is ready mc_arbiter_step_back() is called. */
enum mc_upgrade_winch { MC_WINCH_ALONE, MC_WINCH_IGNORE, MC_WINCH_NOW, MC_WINCH_LATER };
enum mc_upgrade_winch mc_upgrade_winch(void);
/* Not later, either: more workers are asked for. */
void mc_upgrade_stay(void);
/* Another program follows us, and stays. */
bool mc_upgrade_followed(void);
/* We begin to leave: the one before us is told; true when the one after us is told, and the service manager, that the place is its. */
bool mc_upgrade_leave(void);
/* The pidfile of this configuration instead of the one that there is, with ".2" behind its name while the program before us lives. MC_OK or MC_ERROR
 * with err: all is as before. */
int mc_upgrade_pidfile(struct mc_arbiter *a, const struct mc_conf *conf, char *err, size_t errcap);
void mc_upgrade_close(struct mc_arbiter *a);

#endif
