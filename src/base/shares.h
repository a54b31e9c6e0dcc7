// Bounds how much is under way at a time: of one party (a host, a network), so that one whose own
// takes long leaves room for the others', and of all.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <string>

namespace runnel {

// Any thread may call any method.
class Shares {
 public:
  Shares(size_t most_of_one, size_t most_of_all)
      : most_of_one_(most_of_one), most_of_all_(most_of_all) {}

  // The place of one thing under way, given back at its end. The shares must outlive it.
  class Place {
   public:
    Place(Place&& other) noexcept : shares_(other.shares_), party_(std::move(other.party_)) {
      other.shares_ = nullptr;
    }
    ~Place() {
      if (shares_ != nullptr) shares_->give_back(party_);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    Place& operator=(Place&&) = delete;

   private:
    friend class Shares;
    Place(Shares& shares, std::string party) : shares_(&shares), party_(std::move(party)) {}

    Shares* shares_;
    std::string party_;
  };

  // Nothing when there is none left: of this party, or of all.
  std::optional<Place> take(const std::string& party);

 private:
  void give_back(const std::string& party);

  const size_t most_of_one_;
  const size_t most_of_all_;
  std::mutex mutex_;
  std::map<std::string, size_t> taken_;  // by party, none of them zero
  size_t all_taken_ = 0;
};

}  // namespace runnel
