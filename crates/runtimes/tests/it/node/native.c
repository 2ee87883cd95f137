// Tries to start a program, as code that the interpreter loads into itself.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void tell(const char *way, long outcome) {
  char line[200];
  int length = snprintf(line, sizeof line, "%s: %s\n", way, outcome >= 0 ? "DONE" : "refused");
  write(1, line, length);
}

static void started(const char *way, long pid) {
  if (pid == 0) _exit(0);
  tell(way, pid);
}

__attribute__((constructor)) static void attack(void) {
  char *arguments[] = {"node", "-v", NULL};
  char *variables[] = {NULL};
  const char *programs[] = {"/usr/bin/node", "/usr/local/bin/node", "/bin/true", "/lib64/ld-linux-x86-64.so.2"};
  started("fork", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
  started("clone with memory", syscall(SYS_clone, CLONE_VM | SIGCHLD, 0, 0, 0, 0));
  started("clone3", syscall(SYS_clone3, NULL, 88));
#ifdef SYS_fork
  started("old fork", syscall(SYS_fork));
#endif
  for (int at = 0; at < 4; at++) {
    tell("execve", execve(programs[at], arguments, variables));
    tell("execveat by name", syscall(SYS_execveat, AT_FDCWD, programs[at], arguments, variables, 0));
    int open_program = open(programs[at], O_PATH);
    tell("execveat", syscall(SYS_execveat, open_program, "", arguments, variables, AT_EMPTY_PATH));
    tell("execveat and a name", syscall(SYS_execveat, open_program, programs[at], arguments, variables, AT_EMPTY_PATH));
  }
  struct rlimit more = {4096, 4096};
  tell("more descriptors", setrlimit(RLIMIT_NOFILE, &more));
  tell("socket", socket(AF_INET, SOCK_STREAM, 0));
  tell("unix socket", socket(AF_UNIX, SOCK_STREAM, 0));
  int pair[2];
  tell("datagram pair", socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
#ifdef SYS_io_uring_setup
  char buffer[256] = {0};
  tell("io_uring", syscall(SYS_io_uring_setup, 8, buffer));
#endif
  tell("unshare", unshare(CLONE_NEWUSER));
  tell("kill", kill(getppid(), SIGKILL));
}
