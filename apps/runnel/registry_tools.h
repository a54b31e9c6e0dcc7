// What the subcommands of `runnel registry` do. Each returns the exit code.
#pragma once

#include <cstdint>
#include <string>

namespace runnel {

struct RegistryToolOptions {
  std::string data;    // over the configuration's
  std::string config;  // path; empty: defaults
  bool dry_run = false;
  bool repair = false;
  bool json = false;
  std::string to;
  std::string repository;
  int64_t id = 0;
};

int registry_gc(const RegistryToolOptions& options);
int registry_fsck(const RegistryToolOptions& options);
int registry_backup(const RegistryToolOptions& options);
int registry_usage(const RegistryToolOptions& options);
int registry_deleted(const RegistryToolOptions& options);
int registry_restore(const RegistryToolOptions& options);
int registry_purge(const RegistryToolOptions& options);

}  // namespace runnel
