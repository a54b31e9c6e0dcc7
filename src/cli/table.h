// A table for people: columns as wide as their widest cell, two spaces between them.
#pragma once

#include <string>
#include <vector>

namespace runnel::cli {

class Table {
 public:
  using Row = std::vector<std::string>;

  explicit Table(Row head) { rows_.push_back(std::move(head)); }

  // As many cells as the head has.
  void row(Row cells) { rows_.push_back(std::move(cells)); }

  // The last column is not padded; each line ends with a newline.
  std::string to_string() const;

 private:
  std::vector<Row> rows_;
};

}  // namespace runnel::cli
