/* Processes made by syscall(2), the kinds that return twice on one stack included. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int shared;

/* Overwrites the stack below its caller. */
static int __attribute__((noinline)) deep(int n)
{
    volatile char frame[200];
    frame[n] = n;
    return n ? deep(n - 1) + frame[n] : 0;
}

static void __attribute__((noinline)) child(int number)
{
    deep(20);
    shared = number;
    _exit(number);
}

static void report(const char *name, long pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    printf("%s: status %d, memory %s\n", name, WEXITSTATUS(status),
           shared == WEXITSTATUS(status) ? "shared" : "its own");
    shared = 0;
}

int main(void)
{
    long pid;
#ifdef SYS_vfork
    if (!(pid = syscall(SYS_vfork)))
        child(3);
    report("vfork", pid);
#endif
    if (!(pid = syscall(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0)))
        child(4);
    report("clone", pid);
    uint64_t wanted[8] = { CLONE_VM | CLONE_VFORK, 0, 0, 0, SIGCHLD };
    if (!(pid = syscall(SYS_clone3, wanted, sizeof wanted)))
        child(5);
    report("clone3", pid);
    uint64_t plain[8] = { 0, 0, 0, 0, SIGCHLD };
    if (!(pid = syscall(SYS_clone3, plain, sizeof plain)))
        child(6);
    report("clone3 without CLONE_VM", pid);
    if (!(pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)))
        child(7);
    report("clone without CLONE_VM", pid);
    errno = 0;
    pid = syscall(SYS_clone3, wanted, 3L);
    printf("a short clone3: %ld %d\n", pid, errno == EINVAL);
    errno = 0;
    pid = syscall(SYS_clone3, NULL, sizeof wanted);
    printf("a NULL clone3: %ld %d\n", pid, errno == EFAULT);
    errno = 0;
    pid = syscall(SYS_clone, CLONE_VM | CLONE_NEWNS | CLONE_FS, 0, 0, 0, 0);
    printf("clone of what does not go together: %ld %d\n", pid, errno == EINVAL);
    printf("other calls: %d %ld\n", syscall(SYS_getpid) == getpid(), syscall(SYS_close, -1L));
    return 0;
}
