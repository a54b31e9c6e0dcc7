#include "timeline/svg.h"

#include <algorithm>

#include "timeline/escape.h"
#include "timeline/rows.h"

namespace runnel::timeline {

namespace {

constexpr double kWidth = 1400;
constexpr double kLeft = 500;  // of the bars
constexpr double kRight = 1380;
constexpr double kRowHeight = 17;
constexpr size_t kLabel = 64;  // characters that fit before kLeft
constexpr size_t kTicks = 10;

// Readable on white and on black.
constexpr const char* kStyle = R"(
  .page { fill: #ffffff } text { font: 12px ui-monospace, monospace; fill: #1a1a1a }
  .head { font-size: 15px; font-weight: bold } .dim { fill: #5a5a5a }
  .grid { stroke: #d8d8d8 } .band { fill: #f4f4f4 } .whole { fill: #c9c9c9 }
  .c0 { fill: #c69a00 } .c1 { fill: #c86a00 } .c2 { fill: #cc4444 } .c3 { fill: #3f7fcf }
  .c4 { fill: #3c8f57 } .c5 { fill: #7d5bb5 } .c6 { fill: #b44f9c } .c7 { fill: #e00000 }
  .c8 { fill: #e00000 } .c9 { fill: #1f9aa3 } .c10 { fill: #8c8c8c } .c11 { fill: #e2e2e2 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #16181c } text { fill: #e6e6e6 } .dim { fill: #a0a0a0 }
    .grid { stroke: #34373d } .band { fill: #1e2126 } .whole { fill: #4a4d54 }
    .c11 { fill: #2c2f35 }
  })";

class Drawing {
 public:
  Drawing(const Events& events, const Timeline& line)
      : events_(events), line_(line), rows_(rows_of(events, line, kPictureRows)) {}

  std::string run() {
    head();
    causes();
    path();
    axis();
    bars();
    const double height = y_ + 20;
    auto out = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" "
        "width=\"{0:.0f}\" height=\"{1:.0f}\">\n<title>{2}</title>\n<style>{3}</style>\n"
        "<rect class=\"page\" width=\"{0:.0f}\" height=\"{1:.0f}\"/>\n",
        kWidth, height, name(), kStyle);
    return out + grid(height) + std::move(body_) + "</svg>\n";
  }

  std::string name() const { return markup("The start of " + printable(events_.image)); }

 private:
  static std::string cls(Cause cause) { return fmt::format("c{}", static_cast<size_t>(cause)); }

  void text(double x, double y, const std::string& what, const char* style = "") {
    body_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\"{}>{}</text>\n", x, y,
                         *style == 0 ? "" : fmt::format(" class=\"{}\"", style),
                         markup(printable(what, 180)));
  }

  double x_of(Us time) const {
    const auto length = static_cast<double>(std::max<Us>(1, line_.length()));
    const auto share = static_cast<double>(time - line_.begin) / length;
    return kLeft + (kRight - kLeft) * std::clamp(share, 0.0, 1.0);
  }

  void rect(Us begin, Us end, double y, double height, const std::string& style) {
    const double x = x_of(begin);
    body_ += fmt::format(
        "<rect class=\"{}\" x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\"/>", style,
        x, y, std::max(0.6, x_of(end) - x), height);
  }

  void head() {
    text(12, 26, "The start of " + printable(events_.image, 150), "head");
    auto line = fmt::format("{}{}; {} reads of new chunks, {} waited; {} requests, {}",
                            time_text(line_.length()), line_.cut ? " (cut)" : "", line_.reads,
                            line_.reads_waited, line_.requests, amount(line_.bytes));
    if (!events_.container.empty()) line = "container " + events_.container + "; " + line;
    text(12, 46, line);
    y_ = 46;
    if (line_.saving) {
      text(12, y_ += 18,
           fmt::format("a profile would bring {} chunks ({}) with the boot blob: about {} less",
                       line_.saving->chunks, amount(line_.saving->bytes),
                       time_text(line_.saving->saved())));
    }
    for (const auto& note : line_.notes) text(12, y_ += 18, "note: " + note, "dim");
  }

  // The legend, with the sums.
  void causes() {
    y_ += 10;
    size_t column = 0;
    for (size_t i = 0; i < kCauses; ++i) {
      if (line_.by_cause[i] == 0) continue;
      if (column == 0) y_ += 18;
      const auto cause = static_cast<Cause>(i);
      const double x = 12 + 460.0 * static_cast<double>(column);
      body_ += fmt::format(
          "<g><title>{}</title><rect class=\"{}\" x=\"{:.0f}\" y=\"{:.1f}\" width=\"12\" "
          "height=\"12\"/></g>",
          markup(explain(cause)), cls(cause), x, y_ - 11);
      text(x + 18, y_,
           fmt::format("{} {} ({:.0f} %)", to_string(cause), time_text(line_.by_cause[i]),
                       100.0 * static_cast<double>(line_.by_cause[i]) /
                           static_cast<double>(std::max<Us>(1, line_.length()))));
      column = (column + 1) % 3;
    }
  }

  // What each moment was laid to; too small parts join their neighbours.
  void path() {
    y_ += 24;
    text(12, y_, "what was waited for");
    const Us smallest = std::max<Us>(1, line_.length() / 2000);
    Segment joined;
    bool any = false;
    const auto put = [&] {
      if (any) segment(joined, y_ - 11, 14);
    };
    for (const auto& each : line_.path) {
      if (any && joined.length() < smallest) {
        joined.end = each.end;
        if (each.length() > smallest) joined.cause = each.cause, joined.what = each.what;
        continue;
      }
      put();
      joined = each;
      any = true;
    }
    put();
  }

  void segment(const Segment& each, double y, double height) {
    body_ += fmt::format(
        "<g><title>{}</title>",
        markup(fmt::format("{}: {}, {} at {}", printable(each.what, 120), to_string(each.cause),
                           time_text(each.length()), time_text(each.begin - line_.begin))));
    rect(each.begin, each.end, y, height, cls(each.cause));
    body_ += "</g>\n";
  }

  void axis() {
    y_ += 22;
    for (size_t i = 0; i <= kTicks; ++i) {
      const Us at = line_.length() * static_cast<Us>(i) / static_cast<Us>(kTicks);
      text(x_of(line_.begin + at) - 16, y_, time_text(at), "dim");
    }
    grid_top_ = y_ + 4;
  }

  std::string grid(double height) const {
    std::string out;
    for (size_t i = 0; i <= kTicks; ++i) {
      const double x = kLeft + (kRight - kLeft) * static_cast<double>(i) / kTicks;
      out += fmt::format(
          "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.0f}\" y2=\"{2:.0f}\"/>\n", x,
          grid_top_, height - 12);
    }
    return out;
  }

  void bars() {
    y_ += 8;
    for (const auto& row : rows_) {
      y_ += kRowHeight;
      const auto label = fmt::format("{:<10} {}", to_string(row.lane), row.label);
      body_ += fmt::format(
          "<g><title>{}</title>",
          markup(fmt::format("{} {}: {} at {}{}{}", to_string(row.lane), row.label,
                             time_text(row.end - row.begin), time_text(row.begin - line_.begin),
                             row.detail.empty() ? "" : "; ", printable(row.detail))));
      text(12, y_, printable(label, kLabel));
      rect(row.begin, row.end, y_ - 9, 9, "whole");
      for (const auto& phase : row.phases)
        rect(phase.begin, phase.end, y_ - 11, 13, cls(phase.cause));
      body_ += "</g>\n";
    }
  }

  const Events& events_;
  const Timeline& line_;
  const std::vector<Row> rows_;
  std::string body_;
  double y_ = 0;
  double grid_top_ = 0;
};

constexpr const char* kScript = R"(
const svg = document.querySelector('svg');
const home = svg.viewBox.baseVal;
let view = {x: home.x, y: home.y, w: home.width, h: home.height};
const first = {...view};
const show = () => svg.setAttribute('viewBox', `${view.x} ${view.y} ${view.w} ${view.h}`);
svg.removeAttribute('width'); svg.removeAttribute('height');
svg.addEventListener('wheel', event => {
  event.preventDefault();
  const box = svg.getBoundingClientRect();
  const px = (event.clientX - box.left) / box.width, py = (event.clientY - box.top) / box.height;
  const by = Math.min(Math.max(Math.pow(1.0015, event.deltaY), 0.5), 2);
  const w = Math.min(Math.max(view.w * by, first.w / 200), first.w * 2), h = view.h * w / view.w;
  view = {x: view.x + (view.w - w) * px, y: view.y + (view.h - h) * py, w, h};
  show();
}, {passive: false});
svg.addEventListener('pointerdown', event => svg.setPointerCapture(event.pointerId));
svg.addEventListener('pointermove', event => {
  if (!event.buttons) return;
  const box = svg.getBoundingClientRect();
  view.x -= event.movementX * view.w / box.width; view.y -= event.movementY * view.h / box.height;
  show();
});
svg.addEventListener('dblclick', () => { view = {...first}; show(); });
)";

}  // namespace

std::string svg_of(const Events& events, const Timeline& line) {
  return Drawing(events, line).run();
}

std::string html_of(const Events& events, const Timeline& line) {
  Drawing drawing(events, line);
  const auto name = drawing.name();
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<style>body {{ margin: 0 }} svg {{ display: block; width: 100%; height: auto; "
      "touch-action: none }}</style></head>\n<body>\n{}<script>{}</script>\n</body></html>\n",
      name, drawing.run(), kScript);
}

}  // namespace runnel::timeline
