// What an install changes, as a function of what is there: files before, files after. Pure.
//
// Three files are written. containerd's drop-in (CONF.D/runnel.toml) has the proxy plugin, and
// CRI's keys where containerd merges them with those of its main file: 2.x does; 1.x replaces a
// plugin's whole section by the last file that has one, so there the keys are set in the main file
// when that has the section. The drop-in has the main file's version, since containerd 2 takes no
// newer one or takes the main file for as new. The main file imports the drop-in unless it does
// already. Each registry's hosts.toml asks the mirror first; _default is never written, so that
// registries that nobody named are never touched.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"

namespace runnel::install {

// A registry as a person names it: HOST[:PORT], "http://" before it for one without TLS.
struct Registry {
  std::string host;  // as in image names
  bool plain_http = false;

  static Result<Registry> parse(const std::string& text);
  // Where containerd asks when the mirror is away: the docker.io of image names is served
  // elsewhere.
  std::string server() const;
};

// What the install found.
struct Found {
  int major = 1;  // containerd's version
  int minor = 6;
  std::string config_path;                 // containerd's main file
  std::optional<std::string> config_text;  // nothing: there is no such file
  std::string effective;                   // `containerd config dump`: TOML
  std::optional<std::string> drop_in_text;
  std::string certs_directory;  // of the hosts.toml files; see certs_directory()

  // One registry's files: where its hosts.toml is or goes, and what is there.
  struct Hosts {
    std::string path;
    std::optional<std::string> text;
    std::optional<std::string> default_text;  // of _default/hosts.toml
    std::vector<std::string> other_files;     // beside it
    std::string refused;  // why the node could not follow that text; "" when it could
  };
  std::map<std::string, Hosts> hosts;  // by Registry::host
};

struct Wanted {
  std::string snapshotter_socket;
  std::string node_root;
  std::string mirror;  // ADDR:PORT
  std::string platform = "linux/amd64";
  std::vector<Registry> registries;
};

struct FileChange {
  std::string path;
  std::optional<std::string> before;
  std::string after;

  bool operator==(const FileChange&) const = default;
};

struct Plan {
  std::vector<FileChange> changes;  // none: nothing to do. Written in this order
  std::vector<std::string> notes;   // sentences for the person
};

// kUnsupported, with what to do by hand, when a file cannot be merged; kInvalid when one is no
// TOML.
Result<Plan> plan(const Found& found, const Wanted& wanted);

// The sentence about what streams once these registries are asked through the node; when there are
// none, what to do about it.
std::string what_streams(const std::set<std::string>& registries);

// The drop-in beside that main file.
std::string drop_in_path(const std::string& config_path);

// The directory that containerd takes hosts.toml files from, as the effective configuration says;
// `fallback` when it says none. kUnsupported when registries are configured the old way there,
// which containerd does not allow together with hosts.toml.
Result<std::string> certs_directory(const std::string& effective, int major,
                                    const std::string& fallback);

// Whether kubelet's plugin is there at all.
bool has_cri(const std::string& effective);

// The names under which containerd looks for a host's directory, the first one that exists wins.
std::vector<std::string> host_directories(const std::string& host);

// Holds the effective configuration after an install against the one before: what the plan meant to
// set is set, and nothing else has changed. kConflict with the keys that have.
Result<void> check_effect(const std::string& before, const std::string& after, int major,
                          const std::string& certs);

}  // namespace runnel::install
