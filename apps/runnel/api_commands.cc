#include "api_commands.h"

#include "output/output.h"

namespace runnel {

namespace {

std::string check_query(const std::string& text) {
  const auto query = output::Query::parse(text);
  return query ? std::string() : query.error().message;
}

}  // namespace

void add_registry_flags(CLI::App& command, cli::RegistryOptions& options) {
  command.add_flag("--plain-http", options.plain_http,
                   "speak plain HTTP (loopback registries do without --ca-file)");
  command.add_option("--ca-file", options.ca_file, "PEM file of the authorities to trust");
  command
      .add_option("--timeout", options.timeout_s,
                  "seconds after which a silent registry has failed; a request is tried five times")
      ->check(CLI::Range(1u, 3600u))
      ->capture_default_str();
}

namespace {

void add_credential_flags(CLI::App& command, cli::ApiOptions& options) {
  command.add_option("--suffix", options.suffix,
                     "put after the name of a registry that has no '.': NAME.SUFFIX");
  command.add_option("-u,--username,--user", options.user,
                     "user name; without --password its password comes on standard input "
                     "[docker's configuration]");
  auto* password = command.add_option(
      "-p,--password", options.password,
      "its password, or a token; everybody on this machine can read it: better --password-stdin");
  command.add_flag("--password-stdin", options.password_stdin, "read it from standard input")
      ->excludes(password);
}

}  // namespace

void add_login_flags(CLI::App& command, cli::ApiOptions& options) {
  command.add_option("-r,-n,--registry,--name", options.host, "HOST[:PORT] of the registry")
      ->envname("RUNNEL_REGISTRY");
  add_credential_flags(command, options);
  add_registry_flags(command, options.registry);
}

void add_api_flags(CLI::App& command, cli::ApiOptions& options, RegistryFlag registry) {
  const bool also_name = registry == RegistryFlag::kAlsoName;
  command
      .add_option(also_name ? "-r,-n,--registry,--name" : "-r,--registry", options.host,
                  "HOST[:PORT] of the registry")
      ->envname("RUNNEL_REGISTRY");
  add_credential_flags(command, options);
  command.add_option("-o,--output", options.output.format, "how the answer is written")
      ->check(CLI::IsMember({"json", "jsonc", "table", "tsv", "yaml"}))
      ->capture_default_str();
  command
      .add_option("--query", options.output.query,
                  "JMESPath: what of the answer is written (docs/command-line.md)")
      ->check(check_query, "");
  add_registry_flags(command, options.registry);
}

void add_yes_flag(CLI::App& command, cli::ApiOptions& options) {
  command.add_flag("-y,--yes", options.yes, "do not ask for confirmation");
}

void add_attribute_flags(CLI::App& command, cli::AttributeChanges& changes) {
  const auto add = [&](const char* name, std::optional<bool>& into, const char* what) {
    command.add_option(name, into, what)->type_name("true|false");
  };
  add("--delete-enabled", changes.may_delete, "it can be deleted");
  add("--list-enabled", changes.may_list, "lists show it");
  add("--read-enabled", changes.may_read, "it can be pulled");
  add("--write-enabled", changes.may_write, "it can be pushed again");
}

}  // namespace runnel
