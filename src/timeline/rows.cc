#include "timeline/rows.h"

#include <algorithm>
#include <array>

#include "timeline/bringers.h"
#include "timeline/escape.h"
#include "timeline/in_order.h"

namespace runnel::timeline {

namespace {

constexpr size_t kLeast = 40;
constexpr size_t kKeptApart = 10;

// A bar begins and ends with what it stands for, and what nobody waits for has a width too.
Row make(Lane lane, Us begin, Us end, std::string label, std::vector<Segment> phases) {
  return {.lane = lane,
          .begin = begin,
          .end = std::max(begin, end),
          .label = printable(label),
          .detail = {},
          .phases = std::move(phases)};
}

Row row_of(const Span& span, Us end) {
  const bool call = span.kind == Span::Kind::kCall;
  std::vector<Segment> phases{{.begin = span.begin,
                               .end = end,
                               .cause = call ? Cause::kCall : Cause::kWork,
                               .what = span.what}};
  auto row = make(call ? Lane::kCall : Lane::kStep, span.begin, end, span.what, std::move(phases));
  row.detail = printable(span.detail);
  return row;
}

Row row_of(const Request& request, Us end) {
  const Lane lane = request.who == Who::kClient                               ? Lane::kClient
                    : request.who == Who::kNode || request.who == Who::kToken ? Lane::kNode
                                                                              : Lane::kFetch;
  auto label = title_of(request);
  if (lane == Lane::kFetch) label += fmt::format(" ({})", to_string(request.who));
  auto row = make(lane, request.asked, end, label, phases_of(request, request.asked, end));
  row.detail = amount(request.bytes);
  if (request.first_byte != kNone && end > request.first_byte && request.bytes >= (64 << 10)) {
    const auto rate = request.bytes * 1'000'000 / static_cast<uint64_t>(end - request.first_byte);
    row.detail += fmt::format(", {}/s", amount(rate));
  }
  if (request.ended == kNone) row.detail += ", goes on";
  if (request.status != 0 && request.status != 200 && request.status != 206)
    row.detail += fmt::format(", status {}", request.status);
  if (!request.error.empty()) row.detail += ", " + printable(request.error);
  return row;
}

Row row_of(const Read& read, const Bringers& bringers, Us end) {
  Read shown = read;
  shown.ready = end;
  auto row = make(Lane::kRead, read.at, end, title_of(read), phases_of(shown, bringers.of(shown)));
  row.detail = fmt::format("layer {} chunk {}, {}", read.layer, read.chunk, read.origin);
  return row;
}

// Neighbours of one lane, in order of beginning.
Row merged(const std::vector<Row>& group) {
  Row row = group.front();
  row.merged = group.size();
  if (group.size() == 1) return row;
  const auto longest =
      std::ranges::max_element(group, {}, [](const Row& each) { return each.end - each.begin; });
  for (const auto& each : group) row.end = std::max(row.end, each.end);
  row.label = fmt::format("{} x, longest: {}", group.size(), longest->label);
  row.detail = longest->detail;
  // Of parallel bars, what was waited for at each moment: the one that began first has it.
  row.phases.clear();
  std::vector<Segment> all;
  for (const auto& each : group) all.insert(all.end(), each.phases.begin(), each.phases.end());
  sort_by(all, &Segment::begin);
  Us at = row.begin;
  for (auto& phase : all) {
    phase.begin = std::max(phase.begin, at);
    if (phase.begin >= phase.end) continue;
    at = phase.end;
    if (!row.phases.empty() && row.phases.back().cause == phase.cause &&
        row.phases.back().end == phase.begin) {
      row.phases.back().end = phase.end;
    } else {
      row.phases.push_back(std::move(phase));
    }
  }
  return row;
}

// A merged bar may have thousands of phases; a picture shows so many.
void thin_out(Row& row, Us smallest) {
  if (row.phases.size() < 2 * kLeast) return;
  std::vector<Segment> kept;
  for (auto& phase : row.phases) {
    const bool joins = !kept.empty() && phase.end - kept.back().begin < smallest;
    if (joins) {
      kept.back().end = phase.end;
    } else {
      kept.push_back(std::move(phase));
    }
  }
  row.phases = std::move(kept);
}

std::vector<Row> merge(std::vector<Row> rows, const Timeline& line, size_t most) {
  std::vector<size_t> order(rows.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::nth_element(order, order.begin() + kKeptApart, [&](size_t a, size_t b) {
    return rows[a].end - rows[a].begin > rows[b].end - rows[b].begin;
  });
  std::vector<bool> apart(rows.size());
  for (size_t i = 0; i < kKeptApart; ++i) apart[order[i]] = true;

  const auto slots = static_cast<Us>((most - kKeptApart) / kLanes);
  const Us width = line.length() / slots + 1;
  std::vector<Row> out;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    std::vector<Row> group;
    Us slot = -1;
    const auto end_group = [&] {
      if (!group.empty()) out.push_back(merged(group));
      group.clear();
    };
    for (size_t i = 0; i < rows.size(); ++i) {
      if (rows[i].lane != static_cast<Lane>(lane)) continue;
      if (apart[i]) {
        out.push_back(std::move(rows[i]));
        continue;
      }
      const Us own = (rows[i].begin - line.begin) / width;
      if (own != slot) end_group();
      slot = own;
      group.push_back(std::move(rows[i]));
    }
    end_group();
  }
  for (auto& row : out) thin_out(row, line.length() / 500);
  return out;
}

}  // namespace

const char* to_string(Lane lane) {
  switch (lane) {
    case Lane::kCall: return "call";
    case Lane::kClient: return "containerd";
    case Lane::kNode: return "node";
    case Lane::kStep: return "step";
    case Lane::kFetch: return "fetch";
    case Lane::kRead: return "read";
  }
  return "read";
}

std::string amount(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  if (bytes < 1024) return fmt::format("{} B", bytes);
  if (bytes < 1024 * 1024) return fmt::format("{:.1f} KiB", value / 1024);
  if (bytes < 1024 * 1024 * 1024) return fmt::format("{:.1f} MiB", value / (1024 * 1024));
  return fmt::format("{:.1f} GiB", value / (1024.0 * 1024 * 1024));
}

std::string time_text(Us time) {
  if (time < 10'000'000) return fmt::format("{:.1f} ms", static_cast<double>(time) / 1e3);
  return fmt::format("{:.2f} s", static_cast<double>(time) / 1e6);
}

std::vector<Row> rows_of(const Events& events, const Timeline& line, size_t most) {
  most = std::max(most, kLeast);
  const auto end_of = [&](Us end) { return std::min(end == kNone ? events.now : end, line.end); };
  const auto shown = [&](Us begin) { return begin != kNone && begin <= line.end; };
  const Bringers bringers(events.requests);
  std::vector<Row> rows;
  for (const auto& span : events.spans)
    if (shown(span.begin) && span.kind != Span::Kind::kPreparation)
      rows.push_back(row_of(span, end_of(span.end)));
  for (const auto& request : events.requests)
    if (shown(request.asked)) rows.push_back(row_of(request, end_of(request.ended)));
  for (const auto& read : events.reads)
    if (shown(read.at)) rows.push_back(row_of(read, bringers, end_of(read.ready)));
  sort_by(rows, &Row::begin);
  if (rows.size() > most) rows = merge(std::move(rows), line, most);
  sort_by(rows, &Row::begin);
  return rows;
}

}  // namespace runnel::timeline
