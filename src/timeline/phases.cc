#include "timeline/phases.h"

#include <algorithm>

namespace runnel::timeline {

namespace {

void add(std::vector<Segment>& to, Us begin, Us end, Cause cause, const std::string& what) {
  if (end > begin) to.push_back({.begin = begin, .end = end, .cause = cause, .what = what});
}

}  // namespace

const char* to_string(Cause cause) {
  switch (cause) {
    case Cause::kQueue: return "queue";
    case Cause::kConnect: return "connect";
    case Cause::kRoundTrip: return "round trip";
    case Cause::kTransfer: return "transfer";
    case Cause::kUnpack: return "unpack";
    case Cause::kDisk: return "disk";
    case Cause::kToken: return "token";
    case Cause::kRefused: return "refused";
    case Cause::kFailed: return "failed";
    case Cause::kWork: return "preparation";
    case Cause::kCall: return "containerd call";
    case Cause::kOutside: return "outside";
  }
  return "outside";
}

const char* explain(Cause cause) {
  switch (cause) {
    case Cause::kQueue: return "all connections to the registry were busy";
    case Cause::kConnect: return "TCP and TLS to the registry";
    case Cause::kRoundTrip: return "until the registry's answer began";
    case Cause::kTransfer: return "bytes on their way";
    case Cause::kUnpack: return "decompression and verification";
    case Cause::kDisk: return "this machine's disk";
    case Cause::kToken: return "a token server";
    case Cause::kRefused: return "the registry refused: credentials";
    case Cause::kFailed: return "reads that failed";
    case Cause::kWork: return "the node prepared the image";
    case Cause::kCall: return "a call of containerd to the snapshotter";
    case Cause::kOutside: return "nobody waited for the node: containerd and the workload ran";
  }
  return "";
}

std::string title_of(const Read& read) {
  auto title = read.file.empty() ? fmt::format("read layer {} chunk {}", read.layer, read.chunk)
                                 : "read " + read.file;
  if (read.wait == "joined")
    title += read.origin == "fill"       ? " (joined the fill)"
             : read.origin == "hot pack" ? " (on its way in the hot pack)"
                                         : " (joined read-ahead)";
  return title;
}

std::string title_of(const Request& request) {
  const bool ours = request.who != Who::kClient;
  return (ours ? "" : "containerd: ") + request.method + " " + request.what;
}

std::vector<Segment> phases_of(const Request& request, Us begin, Us end) {
  std::vector<Segment> out;
  const auto title = title_of(request);
  const auto clip = [&](Us at) { return at == kNone ? end : std::clamp(at, begin, end); };
  const Us sent = clip(request.sent);
  const Us first = std::max(sent, clip(request.first_byte));
  const bool token = request.who == Who::kToken;
  add(out, begin, sent,
      token               ? Cause::kToken
      : request.connected ? Cause::kConnect
                          : Cause::kQueue,
      title);
  add(out, sent, first, token ? Cause::kToken : Cause::kRoundTrip, title);
  add(out, first, end, token ? Cause::kToken : Cause::kTransfer, title);
  return out;
}

std::vector<Segment> phases_of(const Read& read, const Request* request) {
  std::vector<Segment> out;
  const auto title = title_of(read);
  if (read.ready == kNone || read.ready <= read.at) return out;
  if (read.wait == "none" || read.wait == "check" || read.wait == "failed" ||
      read.wait == "refused") {
    const bool disk = read.wait == "none" || read.wait == "check";
    add(out, read.at, read.ready,
        disk                     ? Cause::kDisk
        : read.wait == "refused" ? Cause::kRefused
                                 : Cause::kFailed,
        title);
    return out;
  }
  const Us arrived =
      read.arrived == kNone ? read.ready : std::clamp(read.arrived, read.at, read.ready);
  if (request != nullptr) {
    const Us asked = std::clamp(request->asked, read.at, arrived);
    add(out, read.at, asked, Cause::kQueue, title);
    for (auto& phase : phases_of(*request, asked, arrived)) {
      phase.what = title;
      out.push_back(std::move(phase));
    }
  } else {
    add(out, read.at, arrived, Cause::kRoundTrip, title);
  }
  add(out, arrived, read.ready, Cause::kUnpack, title);
  return out;
}

}  // namespace runnel::timeline
