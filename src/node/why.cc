#include "node/why.h"

#include <algorithm>

#include "base/quote.h"
#include "oci/reference.h"

namespace runnel::node {

namespace {

using timeline::Span;
using timeline::Us;

constexpr size_t kShortest = 4;  // of the beginning of a container's ID

// When containerd asked for the container's file system.
std::optional<Us> created(const std::vector<Span>& calls, const std::string& id) {
  for (const auto& call : calls)
    if (call.what == "Prepare" && call.detail.find("/" + id + ":") != std::string::npos)
      return call.begin;
  return std::nullopt;
}

// Another container has read before this one was created, so the pull was not for this one.
void begin_with(timeline::Events& events, Us begin) {
  std::erase_if(events.requests, [&](const auto& each) { return each.asked < begin; });
  std::erase_if(events.spans, [&](const auto& each) { return each.begin < begin; });
  std::erase_if(events.reads, [&](const auto& each) { return each.at < begin; });
}

}  // namespace

Result<std::optional<ContainerStatus>> find_container(const std::vector<ContainerStatus>& all,
                                                      const std::string& name) {
  const auto exact = std::ranges::find(all, name, &ContainerStatus::id);
  if (exact != all.end()) return *exact;
  std::optional<ContainerStatus> found;
  for (const auto& each : all) {
    if (name.size() < kShortest || !each.id.starts_with(name)) continue;
    if (found)
      return fail(Code::kInvalid, "{} and {} both begin like {}: say more of the one that is meant",
                  quote(found->id), quote(each.id), quote(name));
    found = each;
  }
  return found;
}

Result<timeline::Events> events_of(const WhyParts& parts, const std::string& name) {
  RUNNEL_TRY(const auto containers, list_containers(parts.store, parts.images, parts.engine));
  RUNNEL_TRY(const auto container, find_container(containers, name));
  if (container && container->image.empty())
    return fail(Code::kNotFound,
                "container {}: this node did not see its image pulled, so it knows nothing of the "
                "start (runnel node status --containers lists those of which it does)",
                name);
  auto reference = oci::Reference::parse(container ? container->image : name);
  if (!reference)
    return fail(Code::kNotFound,
                "{} is no container on this node and no image (runnel node status --containers "
                "lists the containers): {}",
                quote(name), reference.error().message);
  auto known = parts.images.start_events(*reference, parts.authority);
  if (!known && known.error().code == Code::kNotFound && name.find('/') == std::string::npos)
    return fail(Code::kNotFound, "{} is no container on this node; as an image, {}", quote(name),
                known.error().message);
  RUNNEL_TRY(auto events, std::move(known));
  events.worker_restarts = parts.worker_restarts;

  // Calls are known by what they name: the image's chains, and its containers.
  std::vector<std::string> names;
  for (const auto& status : parts.images.status())
    if (status.name == events.image) names = status.chain_ids;
  std::vector<std::string> ids;
  for (const auto& each : containers)
    if (each.image == events.image) ids.push_back(each.id);
  for (const auto& id : ids) names.push_back("/" + id);
  Us since = timeline::kNone;
  for (const auto& span : events.spans)
    if (span.kind == Span::Kind::kPreparation) since = std::max(since, span.begin);
  for (auto& call : parts.log.calls(names))
    if (call.begin >= since) events.spans.push_back(std::move(call));
  if (!container) return events;

  events.container = container->id;
  const auto own = created(events.spans, container->id);
  const bool first =
      !own || std::ranges::none_of(events.reads, [&](const auto& read) { return read.at < *own; });
  if (!first) begin_with(events, *own);
  return events;
}

}  // namespace runnel::node
