// cli/ holds the commands that people and scripts type, and how they print.
//
// It does not hold: how the command line is parsed (apps/runnel), or what the commands do
// (convert/, remote/, snapshot/, the node's control socket). Each command prints its result on
// standard output, progress and errors on standard error, and returns the exit code: 0 done, 1
// failed, 2 wrong usage (failure.h).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "install/install.h"

namespace runnel::cli {

// How a command reaches registries.
struct RegistryOptions {
  bool plain_http = false;  // also without it for loopback, unless there is a ca_file
  std::string ca_file;
  unsigned timeout_s = 30;  // a registry that is silent for so long has failed
};

struct ConvertOptions {
  RegistryOptions registry;
  std::string reference;
  std::string work_directory = "/var/tmp";
  std::string key_file;   // signs with it
  std::string hot_files;  // a file with one path of the image a line
  std::string profile;    // a file that `runnel node profile` wrote
  unsigned threads = 2;
  bool json = false;
};
int convert(const ConvertOptions& options);

struct ImageOptions {
  RegistryOptions registry;
  std::string reference;
  std::string path = "/";
  bool json = false;
};
// What is in an image's artifact.
int inspect(const ImageOptions& options);
// A directory (or one file) of a remote image, read through its artifact.
int ls(const ImageOptions& options);
// A file's content to standard output, chunk by chunk, each verified before it is written.
int cat(const ImageOptions& options);

struct PullOptions {
  std::string image;
  std::string address = "/run/containerd/containerd.sock";
  unsigned timeout_s = 600;
  std::string user;  // not empty: sent with the password of standard input, as kubelet does
};
// Asks containerd (CRI PullImage) for the image, as kubelet does.
int pull(const PullOptions& options);

struct NodeOptions {
  std::string image;  // for commands about one
  std::string control = "/run/runnel/control.sock";
  bool json = false;
  bool layers = false;      // of status: each layer
  bool containers = false;  // of status: the containers instead
};
int node_status(const NodeOptions& options);
int node_clear(const NodeOptions& options);
// Which chunks the start of `options.image` read, as a profile for convert().
int node_profile(const NodeOptions& options);
struct NodeWhyOptions {
  std::string name;  // a container's ID, or an image
  std::string control = "/run/runnel/control.sock";
  std::string output;             // "json"; empty: text
  std::string output_file;        // a picture: .svg, .html, or .json
  std::optional<double> until_s;  // of the start; the rest is cut
  size_t rows = 60;               // bars of the text
};
// Where the time of a container's start went, for people, programs and as a picture.
int node_why(const NodeWhyOptions& options);
// Puts the node between containerd and registries, and takes it out again; prints what it does.
int node_install(const install::Options& options);
int node_uninstall(const install::Options& options);

struct NodeImageOptions {
  std::string image;
  std::string control = "/run/runnel/control.sock";
  std::string address = "/run/containerd/containerd.sock";  // of containerd
  std::string name_space = "k8s.io";
};
// Brings the layers that a streamed pull left out into containerd's content store.
int node_materialize(const NodeImageOptions& options);
// Makes an image stream that containerd unpacked the ordinary way.
int node_repull(const NodeImageOptions& options);

struct CheckRegistryOptions {
  NodeOptions node;
  std::string reference;
};
// What has to work before an image of that repository streams, step by step.
int node_check_registry(const CheckRegistryOptions& options);

struct LoginOptions {
  std::string control = "/run/runnel/control.sock";
  std::string host;
  std::string user;
};
// Gives the node a password (from standard input) for a registry, once the registry has taken it.
int login(const LoginOptions& options);
int logout(const LoginOptions& options);

}  // namespace runnel::cli
