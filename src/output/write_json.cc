#include <boost/json.hpp>

#include "output/write.h"

namespace runnel::output {

namespace json = boost::json;

namespace {

// SGR sequences; the colours of names, texts and other scalars.
constexpr const char* kName = "\033[94m";
constexpr const char* kText = "\033[32m";
constexpr const char* kOther = "\033[36m";
constexpr const char* kPlain = "\033[39m";

class Writer {
 public:
  explicit Writer(bool coloured) : coloured_(coloured) {}

  void value(const json::value& what, size_t depth) {
    if (const auto* list = what.if_array()) {
      array(*list, depth);
    } else if (const auto* members = what.if_object()) {
      object(*members, depth);
    } else {
      painted(what.is_string() ? kText : kOther, json::serialize(what));
    }
  }

  std::string take() { return std::move(out_); }

 private:
  void painted(const char* colour, const std::string& text) {
    if (coloured_) out_ += colour;
    out_ += text;
    if (coloured_) out_ += kPlain;
  }

  void line(size_t depth) {
    out_ += '\n';
    out_.append(2 * depth, ' ');
  }

  void array(const json::array& list, size_t depth) {
    if (list.empty()) {
      out_ += "[]";
      return;
    }
    out_ += '[';
    for (const auto& each : list) {
      if (&each != &list.front()) out_ += ',';
      line(depth + 1);
      value(each, depth + 1);
    }
    line(depth);
    out_ += ']';
  }

  void object(const json::object& members, size_t depth) {
    if (members.empty()) {
      out_ += "{}";
      return;
    }
    out_ += '{';
    bool first = true;
    for (const auto& member : members) {
      if (!std::exchange(first, false)) out_ += ',';
      line(depth + 1);
      painted(kName, json::serialize(member.key()));
      out_ += ": ";
      value(member.value(), depth + 1);
    }
    line(depth);
    out_ += '}';
  }

  const bool coloured_;
  std::string out_;
};

}  // namespace

std::string write_json(const json::value& document, bool coloured) {
  Writer writer(coloured);
  writer.value(document, 0);
  return writer.take() + "\n";
}

}  // namespace runnel::output
