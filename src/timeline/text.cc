#include "timeline/text.h"

#include <algorithm>
#include <array>

#include "timeline/escape.h"
#include "timeline/in_order.h"
#include "timeline/rows.h"

namespace runnel::timeline {

namespace {

constexpr size_t kColumns = 100;
constexpr size_t kBar = 40;

// A letter for each cause, so that a picture without colours says as much.
struct Look {
  char letter;
  int colour;  // of 256
};
Look look_of(Cause cause) {
  switch (cause) {
    case Cause::kQueue: return {'q', 178};
    case Cause::kConnect: return {'c', 172};
    case Cause::kRoundTrip: return {'r', 167};
    case Cause::kTransfer: return {'=', 68};
    case Cause::kUnpack: return {'u', 65};
    case Cause::kDisk: return {'d', 97};
    case Cause::kToken: return {'t', 133};
    case Cause::kRefused: return {'!', 160};
    case Cause::kFailed: return {'X', 160};
    case Cause::kWork: return {'#', 37};
    case Cause::kCall: return {'-', 244};
    case Cause::kOutside: return {'.', 240};
  }
  return {'.', 240};
}

std::string painted(const std::string& text, int colour, bool colours) {
  return colours && colour != 0 ? fmt::format("\x1b[38;5;{}m{}\x1b[0m", colour, text) : text;
}

// At most `width` characters of a printable text.
std::string fitted(const std::string& text, size_t width) {
  return printable(text, width);
}

class Writer {
 public:
  Writer(const Events& events, const Timeline& line, const TextOptions& options)
      : events_(events), line_(line), options_(options) {}

  std::string run() {
    head();
    causes();
    waits();
    requests();
    bars();
    return std::move(out_);
  }

 private:
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...);
    out_ += '\n';
  }

  std::string at(Us time) const { return time_text(time - line_.begin); }

  void head() {
    put("{}", fitted(events_.image, kColumns));
    if (!events_.container.empty()) put("container {}", fitted(events_.container, kColumns - 10));
    put("{} from the first request to the last first read{}", time_text(line_.length()),
        line_.cut ? " (cut)" : "");
    put("{} reads of new chunks, {} of them waited; {} requests, {}, {} connections", line_.reads,
        line_.reads_waited, line_.requests, amount(line_.bytes), line_.connections);
    for (const auto& note : line_.notes) put("note: {}", fitted(note, kColumns - 6));
  }

  void causes() {
    put("");
    put("Where the time went");
    std::vector<size_t> order;
    for (size_t i = 0; i < kCauses; ++i)
      if (line_.by_cause[i] > 0) order.push_back(i);
    sort_by(order, [&](size_t i) { return -line_.by_cause[i]; });
    for (const size_t i : order) {
      const auto cause = static_cast<Cause>(i);
      const auto share = 100.0 * static_cast<double>(line_.by_cause[i]) /
                         static_cast<double>(std::max<Us>(1, line_.length()));
      put("  {} {:<15} {:>11} {:>5.1f} %  {}",
          painted(std::string(1, look_of(cause).letter), look_of(cause).colour, options_.colours),
          to_string(cause), time_text(line_.by_cause[i]), share, explain(cause));
    }
    if (!line_.saving) return;
    const auto& saving = *line_.saving;
    put("A profile would bring {} chunks ({}) with the boot blob: about {} less", saving.chunks,
        amount(saving.bytes), time_text(saving.saved()));
    put("  (our own registry learns it; for others: runnel node profile, then runnel convert "
        "--profile)");
  }

  void waits() {
    put("");
    put("The longest waits");
    for (const auto& wait : line_.longest) {
      std::string phases;
      for (const auto& phase : wait.phases)
        phases += fmt::format("{}{} {}", phases.empty() ? "" : ", ", to_string(phase.cause),
                              time_text(phase.length()));
      put("  {:>11} at {:>11}  {}", time_text(wait.length()), at(wait.begin),
          fitted(wait.what, kColumns - 30));
      if (wait.phases.size() > 1) put("{:30}{}", "", fitted(phases, kColumns - 30));
    }
    if (line_.idle.empty()) return;
    put("The longest moments at which nobody waited for the node");
    for (const auto& idle : line_.idle)
      put("  {:>11} at {:>11}", time_text(idle.length()), at(idle.begin));
  }

  void requests() {
    put("");
    put("Requests");
    for (const auto& traffic : line_.traffic)
      put("  {:>5} x {:<40} {:>11} {:>11}", traffic.requests, fitted(traffic.what, 40),
          amount(traffic.bytes), time_text(traffic.time));
    if (line_.bytes_per_second)
      put("  the best rate of a large one: {}/s", amount(*line_.bytes_per_second));
  }

  void bars() {
    const auto rows = rows_of(events_, line_, options_.rows);
    put("");
    put("{:>10} {:>10}  |{:<{}}|", "at", "took",
        " each column is " + time_text(line_.length() / static_cast<Us>(kBar)), kBar);
    for (const auto& row : rows) {
      // 10 + 1 + 10 + 2 + 1 + kBar + 1 + 1
      put("{:>10} {:>10}  |{}| {}", at(row.begin), time_text(row.end - row.begin), bar(row),
          fitted(row.label, kColumns - 26 - kBar));
    }
  }

  size_t column(Us time) const {
    const Us length = std::max<Us>(1, line_.length());
    return static_cast<size_t>(std::clamp<Us>((time - line_.begin) * static_cast<Us>(kBar) / length,
                                              0, static_cast<Us>(kBar) - 1));
  }

  std::string bar(const Row& row) const {
    std::array<char, kBar> letters;
    letters.fill(' ');
    std::array<int, kBar> colours{};
    letters[column(row.begin)] = '\'';
    for (const auto& phase : row.phases) {
      const auto look = look_of(phase.cause);
      for (size_t i = column(phase.begin); i <= column(std::max(phase.begin, phase.end - 1)); ++i) {
        letters[i] = look.letter;
        colours[i] = look.colour;
      }
    }
    std::string out;
    for (size_t i = 0; i < kBar;) {
      size_t next = i + 1;
      while (next < kBar && colours[next] == colours[i]) ++next;
      out += painted(std::string(letters.data() + i, next - i), colours[i], options_.colours);
      i = next;
    }
    return out;
  }

  const Events& events_;
  const Timeline& line_;
  const TextOptions& options_;
  std::string out_;
};

}  // namespace

std::string text_of(const Events& events, const Timeline& line, const TextOptions& options) {
  return Writer(events, line, options).run();
}

}  // namespace runnel::timeline
