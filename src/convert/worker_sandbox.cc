#include "convert/worker_sandbox.h"

#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>

namespace runnel::convert {

namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define RUNNEL_SANITIZED 1
#endif
#endif

Result<void> set_limit(int resource, uint64_t value, const char* name, uint64_t margin = 0) {
  const rlimit limit{.rlim_cur = value, .rlim_max = value + margin};
  if (::setrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0)
    return fail_errno("setrlimit {} {}", name, value);
  return {};
}

#ifndef RUNNEL_SANITIZED
struct FreeFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, FreeFilter>;

// Memory, threads that wait for each other and end, the descriptors that are there, and time.
constexpr int kAllowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(sendto),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(brk),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(close),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
};

Result<void> check(int outcome, const char* what) {
  if (outcome == 0) return {};
  return std::unexpected(system_error(-outcome, what));
}

Result<void> allow_all(scmp_filter_ctx filter) {
  for (const int call : kAllowed) {
    RUNNEL_DO(check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0), "seccomp: a rule"));
  }
  // Memory that can be run is what an exploit would ask for next.
  for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
    RUNNEL_DO(check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                                     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)),
                    "seccomp: a rule for memory"));
  }
  // abort() kills itself.
  RUNNEL_DO(check(seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
                                   SCMP_A0(SCMP_CMP_EQ, static_cast<uint64_t>(::getpid()), 0)),
                  "seccomp: a rule for abort"));
  return {};
}
#endif

}  // namespace

Result<void> detach(int first_unused) {
  if (::prctl(PR_SET_DUMPABLE, 0) != 0) return fail_errno("prctl PR_SET_DUMPABLE");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("prctl PR_SET_NO_NEW_PRIVS");
  if (::close_range(static_cast<unsigned>(first_unused), ~0u, 0) != 0)
    return fail_errno("close_range");
  return set_limit(RLIMIT_CORE, 0, "core");
}

Result<void> limit_resources([[maybe_unused]] uint64_t memory_bytes, uint64_t cpu_seconds) {
#ifndef RUNNEL_SANITIZED
  RUNNEL_DO(set_limit(RLIMIT_AS, memory_bytes, "address space"));
#endif
  RUNNEL_DO(set_limit(RLIMIT_NOFILE, 0, "descriptors"));
  // SIGXCPU at the first limit; the second one would be SIGKILL without a reason.
  return set_limit(RLIMIT_CPU, cpu_seconds, "processor time", 5);
}

Result<void> confine() {
#ifndef RUNNEL_SANITIZED
  const Filter filter(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (!filter) return fail(Code::kUnsupported, "seccomp: no filter could be made");
  RUNNEL_DO(check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1), "seccomp: tsync"));
  RUNNEL_DO(allow_all(filter.get()));
  RUNNEL_DO(check(seccomp_load(filter.get()), "seccomp: loading the filter"));
#endif
  return {};
}

}  // namespace runnel::convert
