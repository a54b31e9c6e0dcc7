// What every BlobStore must do. A driver's test instantiates the suite with a fixture of its own:
//
//   INSTANTIATE_TEST_SUITE_P(Directory, BlobStoreConformance, testing::Values(make_fixture));
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>

#include "blob/blob_store.h"

namespace runnel::test {

class BlobStoreFixture {
 public:
  virtual ~BlobStoreFixture() = default;
  virtual blob::BlobStore& store() = 0;
  // As if the process had ended and started again on the same data.
  virtual void reopen() = 0;
};

using MakeBlobStore = std::function<std::unique_ptr<BlobStoreFixture>()>;

// All bytes of what open() gave, however it gave them.
inline Buffer read_all(blob::Content& content) {
  Buffer bytes(blob::size_of(content));
  if (auto* file = std::get_if<blob::FileContent>(&content)) {
    EXPECT_TRUE(read_exact_at(file->file->get(), bytes, 0));
  } else if (auto* stream = std::get_if<blob::StreamContent>(&content)) {
    EXPECT_EQ(stream->reader->read_at(0, bytes).value(), bytes.size());
  } else {
    ADD_FAILURE() << "a redirect";
  }
  return bytes;
}

}  // namespace runnel::test

namespace runnel::blob {

class BlobStoreConformance : public testing::TestWithParam<test::MakeBlobStore> {
 protected:
  BlobStore& store() { return fixture_->store(); }
  void reopen() { fixture_->reopen(); }

  oci::Digest push(const std::string& id, std::string_view text) {
    auto writer = store().open_upload(id, 0).value();
    EXPECT_TRUE(writer->append(as_bytes(text)));
    const auto digest = oci::Digest::of(as_bytes(text));
    EXPECT_TRUE(writer->commit(digest));
    return digest;
  }

  // The text of a blob, or "absent".
  std::string text_of(const oci::Digest& digest) {
    auto content = store().open(digest).value();
    if (!content) return "absent";
    return std::string(as_text(test::read_all(*content)));
  }

 private:
  const std::unique_ptr<test::BlobStoreFixture> fixture_ = GetParam()();
};

TEST_P(BlobStoreConformance, GivesBackWhatWasCommitted) {
  const auto digest = push("one", "the bytes");

  EXPECT_EQ(store().size(digest).value(), 9u);
  EXPECT_EQ(text_of(digest), "the bytes");
  EXPECT_TRUE(store().uploads().value().empty());
}

TEST_P(BlobStoreConformance, KeepsBlobsOverARestart) {
  const auto digest = push("one", "the bytes");

  reopen();

  EXPECT_EQ(text_of(digest), "the bytes");
}

TEST_P(BlobStoreConformance, KeepsEmptyBlobsAndThoseOfSha512) {
  const auto empty = push("empty", "");
  const auto long_digest = oci::Digest::of(as_bytes("x"), oci::Algorithm::kSha512);
  auto writer = store().open_upload("long", 0).value();
  ASSERT_TRUE(writer->append(as_bytes("x")));
  ASSERT_TRUE(writer->commit(long_digest));

  EXPECT_EQ(text_of(empty), "");
  EXPECT_EQ(text_of(long_digest), "x");
}

TEST_P(BlobStoreConformance, SaysThatABlobIsAbsentWithoutAnError) {
  const auto digest = oci::Digest::of(as_bytes("never pushed"));

  EXPECT_EQ(store().size(digest).value(), std::nullopt);
  EXPECT_FALSE(store().open(digest).value().has_value());
  EXPECT_FALSE(store().remove(digest).value());
}

TEST_P(BlobStoreConformance, ShowsNothingOfAnUploadBeforeItsCommit) {
  auto writer = store().open_upload("one", 0).value();
  ASSERT_TRUE(writer->append(as_bytes("abc")));
  ASSERT_TRUE(writer->sync());

  EXPECT_EQ(text_of(oci::Digest::of(as_bytes("abc"))), "absent");
}

TEST_P(BlobStoreConformance, RemovesABlobButNotFromWhoReadsIt) {
  const auto digest = push("one", "abc");
  auto content = store().open(digest).value();

  EXPECT_TRUE(store().remove(digest).value());

  EXPECT_EQ(text_of(digest), "absent");
  EXPECT_EQ(as_text(test::read_all(*content)), "abc");
}

TEST_P(BlobStoreConformance, TakesABlobThatItHasAlready) {
  push("one", "abc");

  const auto digest = push("two", "abc");

  EXPECT_EQ(text_of(digest), "abc");
}

TEST_P(BlobStoreConformance, ContinuesAnUpload) {
  ASSERT_TRUE(store().open_upload("one", 0).value()->append(as_bytes("abc")));
  reopen();

  auto writer = store().open_upload("one", 3).value();
  Buffer first(3);
  ASSERT_TRUE(writer->read_exact_at(0, first));
  ASSERT_TRUE(writer->append(as_bytes("def")));

  EXPECT_EQ(as_text(first), "abc");
  EXPECT_EQ(writer->size(), 6u);
  ASSERT_TRUE(writer->commit(oci::Digest::of(as_bytes("abcdef"))));
  EXPECT_EQ(text_of(oci::Digest::of(as_bytes("abcdef"))), "abcdef");
}

TEST_P(BlobStoreConformance, DropsWhatWasNotAcknowledged) {
  ASSERT_TRUE(store().open_upload("one", 0).value()->append(as_bytes("abcdef")));

  auto writer = store().open_upload("one", 2).value();
  ASSERT_TRUE(writer->append(as_bytes("X")));
  ASSERT_TRUE(writer->commit(oci::Digest::of(as_bytes("abX"))));

  EXPECT_EQ(text_of(oci::Digest::of(as_bytes("abX"))), "abX");
}

TEST_P(BlobStoreConformance, CutsOffWhatAnUploadIsNotToHave) {
  auto writer = store().open_upload("one", 0).value();
  ASSERT_TRUE(writer->append(as_bytes("abcdef")));

  ASSERT_TRUE(writer->truncate(2));

  EXPECT_EQ(writer->size(), 2u);
  writer.reset();
  EXPECT_EQ(store().open_upload("one", 3).error().code, Code::kNotFound);
  writer = store().open_upload("one", 2).value();
  ASSERT_TRUE(writer->append(as_bytes("X")));
  ASSERT_TRUE(writer->commit(oci::Digest::of(as_bytes("abX"))));
  EXPECT_EQ(text_of(oci::Digest::of(as_bytes("abX"))), "abX");
}

TEST_P(BlobStoreConformance, DoesNotContinueAnUploadThatLostBytes) {
  ASSERT_TRUE(store().open_upload("one", 0).value()->append(as_bytes("abc")));

  EXPECT_EQ(store().open_upload("one", 4).error().code, Code::kNotFound);
  EXPECT_EQ(store().open_upload("never", 1).error().code, Code::kNotFound);
  EXPECT_TRUE(store().open_upload("one", 3));
}

TEST_P(BlobStoreConformance, HasOneWriterOfAnUploadAtATime) {
  auto writer = store().open_upload("one", 0).value();
  EXPECT_EQ(store().open_upload("one", 0).error().code, Code::kConflict);
  EXPECT_TRUE(store().open_upload("two", 0));

  writer.reset();

  EXPECT_TRUE(store().open_upload("one", 0));
}

TEST_P(BlobStoreConformance, DiscardsAnUploadEvenWhileItIsWritten) {
  auto writer = store().open_upload("one", 0).value();
  ASSERT_TRUE(writer->append(as_bytes("abc")));

  EXPECT_TRUE(store().discard_upload("one").value());

  EXPECT_EQ(writer->commit(oci::Digest::of(as_bytes("abc"))).error().code, Code::kNotFound);
  EXPECT_EQ(text_of(oci::Digest::of(as_bytes("abc"))), "absent");
  EXPECT_FALSE(store().discard_upload("one").value());
}

TEST_P(BlobStoreConformance, ListsUploadsThatHaveBytes) {
  store().open_upload("one", 0).value();
  ASSERT_TRUE(store().open_upload("two", 0).value()->append(as_bytes("x")));
  push("three", "y");

  auto ids = store().uploads().value();
  std::ranges::sort(ids);

  EXPECT_TRUE(std::ranges::includes(ids, std::vector<std::string>{"two"}));
  EXPECT_FALSE(std::ranges::binary_search(ids, "three"));
}

TEST_P(BlobStoreConformance, ListsBlobsInTheOrderOfTheirDigests) {
  std::vector<oci::Digest> pushed;
  for (int i = 0; i < 20; ++i) {
    const auto name = std::to_string(i);
    pushed.push_back(push(name, name));
    const auto long_digest = oci::Digest::of(as_bytes(name), oci::Algorithm::kSha512);
    auto writer = store().open_upload("long-" + name, 0).value();
    ASSERT_TRUE(writer->append(as_bytes(name)));
    ASSERT_TRUE(writer->commit(long_digest));
    pushed.push_back(long_digest);
  }
  std::ranges::sort(pushed);

  std::vector<oci::Digest> listed;
  while (true) {
    const auto page = store().list(listed.empty() ? oci::Digest() : listed.back(), 7).value();
    ASSERT_LE(page.size(), 7u);
    for (const auto& each : page) listed.push_back(each.digest);
    if (page.empty()) break;
  }

  EXPECT_EQ(listed, pushed);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BlobStoreConformance);

}  // namespace runnel::blob
