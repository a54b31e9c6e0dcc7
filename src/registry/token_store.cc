#include "registry/token_store.h"

#include <algorithm>
#include <boost/json.hpp>

#include "access/secret.h"
#include "base/quote.h"
#include "meta/stored_time.h"

namespace runnel::registry {

namespace json = boost::json;

namespace {

constexpr std::string_view kScopeMaps = "scope-map";
constexpr std::string_view kTokens = "token";
constexpr size_t kMaxName = 50;
constexpr size_t kMaxActions = 500;
constexpr size_t kMaxListed = 10'000;
constexpr size_t kMarkDigits = 16;  // 64 bits: nobody makes that many passwords

Result<void> check_name(std::string_view name) {
  const auto fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  if (!name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, fine) &&
      name.front() != '_')
    return {};
  return fail(Code::kInvalid,
              "{} is not a name: 1 to {} letters, digits, \"-\" and \"_\", the first one no \"_\"",
              quote(name), kMaxName);
}

// Documents are ours: one that cannot be read was damaged, and lets nobody in.
Result<json::object> object_of(const meta::Document& document) {
  json::error_code failed;
  auto value = json::parse(document.body, failed);
  if (failed || !value.is_object())
    return fail(Code::kUnavailable, "what is kept of {} is damaged: make it again", document.name);
  return std::move(value.get_object());
}

std::string text_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::optional<WallTime> time_of(const json::object& object, std::string_view name) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  return meta::from_milliseconds(value->get_int64());
}

std::string body_of(const ScopeMap& map) {
  json::object object;
  object["description"] = map.description;
  json::array actions;
  for (auto& line : access::to_scope_map_actions(map.grants)) actions.emplace_back(line);
  object["actions"] = std::move(actions);
  return json::serialize(object);
}

Result<ScopeMap> scope_map_of(const meta::Document& document) {
  RUNNEL_TRY(const auto object, object_of(document));
  ScopeMap map;
  map.name = document.name;
  map.description = text_of(object, "description");
  const auto* actions = object.if_contains("actions");
  if (actions == nullptr || !actions->is_array())
    return fail(Code::kUnavailable, "scope map {} is damaged: make it again", document.name);
  for (const auto& line : actions->get_array()) {
    RUNNEL_TRY(auto grant,
               access::parse_scope_map_action(line.is_string() ? std::string_view(line.get_string())
                                                               : std::string_view()));
    map.grants.push_back(std::move(grant));
  }
  return map;
}

std::string body_of(const Token& token) {
  json::object object;
  object["scopeMap"] = token.scope_map;
  object["enabled"] = token.enabled;
  object["created"] = meta::to_milliseconds(token.created);
  json::array passwords;
  for (const auto& password : token.passwords) {
    json::object entry;
    if (!password.hash.empty()) {
      entry["hash"] = password.hash;
      entry["created"] = meta::to_milliseconds(password.created);
      if (password.expires) entry["expires"] = meta::to_milliseconds(*password.expires);
    }
    passwords.push_back(std::move(entry));
  }
  object["passwords"] = std::move(passwords);
  return json::serialize(object);
}

Result<Token> token_of(const meta::Document& document) {
  RUNNEL_TRY(const auto object, object_of(document));
  Token token;
  token.name = document.name;
  token.version = document.version;
  token.scope_map = text_of(object, "scopeMap");
  const auto* enabled = object.if_contains("enabled");
  token.enabled = enabled != nullptr && enabled->is_bool() && enabled->get_bool();
  token.created = time_of(object, "created").value_or(WallTime());
  const auto* passwords = object.if_contains("passwords");
  if (passwords == nullptr || !passwords->is_array() ||
      passwords->get_array().size() != token.passwords.size())
    return fail(Code::kUnavailable, "token {} is damaged: make it again", document.name);
  for (size_t i = 0; i < token.passwords.size(); ++i) {
    const auto& value = passwords->get_array()[i];
    if (!value.is_object()) continue;
    const auto& entry = value.get_object();
    token.passwords[i].hash = text_of(entry, "hash");
    token.passwords[i].created = time_of(entry, "created").value_or(WallTime());
    token.passwords[i].expires = time_of(entry, "expires");
  }
  return token;
}

ScopeMap system_map(const std::string& name) {
  ScopeMap map;
  map.name = name;
  map.grants = access::system_scope_map(name).value();
  map.is_system = true;
  return map;
}

// Writes over whatever version is there: a scope map is replaced as a whole, so whoever came last
// wins.
Result<void> put_scope_map(meta::MetadataStore& metadata, const ScopeMap& map) {
  const auto body = body_of(map);
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(const auto current, metadata.document(kScopeMaps, map.name));
    const auto put =
        metadata.put_document(kScopeMaps, map.name, body, current ? current->version : 0);
    if (put) return {};
    if (put.error().code != Code::kConflict || attempt == kPutAttempts)
      return std::unexpected(put.error());
  }
}

}  // namespace

Result<std::optional<ScopeMap>> TokenStore::scope_map(std::string_view name) const {
  if (access::system_scope_map(name)) return system_map(std::string(name));
  RUNNEL_TRY(const auto document, metadata_.document(kScopeMaps, name));
  if (!document) return std::nullopt;
  RUNNEL_TRY(auto map, scope_map_of(*document));
  return map;
}

Result<std::vector<ScopeMap>> TokenStore::scope_maps() const {
  std::vector<ScopeMap> maps;
  for (const auto& name : access::system_scope_maps()) maps.push_back(system_map(name));
  RUNNEL_TRY(const auto documents, metadata_.documents(kScopeMaps, "", kMaxListed));
  for (const auto& document : documents) {
    RUNNEL_TRY(auto map, scope_map_of(document));
    maps.push_back(std::move(map));
  }
  return maps;
}

Result<void> TokenStore::put(const ScopeMap& map) const {
  RUNNEL_DO(check_name(map.name));
  if (access::to_scope_map_actions(map.grants).size() > kMaxActions)
    return fail(Code::kInvalid, "a scope map has at most {} actions", kMaxActions);
  return put_scope_map(metadata_, map);
}

Result<bool> TokenStore::delete_scope_map(std::string_view name) const {
  RUNNEL_DO(check_name(name));
  RUNNEL_TRY(const auto all, tokens());
  for (const auto& each : all)
    if (each.scope_map == name)
      return fail(Code::kConflict, "token {} uses scope map {}: delete the token first", each.name,
                  name);
  return metadata_.delete_document(kScopeMaps, name);
}

Result<std::optional<Token>> TokenStore::token(std::string_view name) const {
  RUNNEL_TRY(const auto document, metadata_.document(kTokens, name));
  if (!document) return std::nullopt;
  RUNNEL_TRY(auto token, token_of(*document));
  return token;
}

Result<std::vector<Token>> TokenStore::tokens() const {
  RUNNEL_TRY(const auto documents, metadata_.documents(kTokens, "", kMaxListed));
  std::vector<Token> all;
  for (const auto& document : documents) {
    RUNNEL_TRY(auto token, token_of(document));
    all.push_back(std::move(token));
  }
  return all;
}

Result<void> TokenStore::put(const Token& token) const {
  RUNNEL_DO(check_name(token.name));
  RUNNEL_TRY(const auto map, scope_map(token.scope_map));
  if (!map) return fail(Code::kNotFound, "there is no scope map {}", quote(token.scope_map));
  RUNNEL_TRY([[maybe_unused]] const auto version,
             metadata_.put_document(kTokens, token.name, body_of(token), token.version));
  return {};
}

Result<std::string> TokenStore::generate_password(std::string_view name, size_t number,
                                                  WallTime now,
                                                  std::optional<WallTime> expires) const {
  const auto password = access::make_secret();
  for (int attempt = 1;; ++attempt) {
    RUNNEL_TRY(auto found, token(name));
    if (!found) return fail(Code::kNotFound, "there is no token {}", quote(name));
    found->passwords.at(number) = {
        .hash = access::hash_secret(password), .created = now, .expires = expires};
    const auto put = metadata_.put_document(kTokens, name, body_of(*found), found->version);
    if (put) return password;
    if (put.error().code != Code::kConflict || attempt == kPutAttempts)
      return std::unexpected(put.error());
  }
}

Result<bool> TokenStore::delete_token(std::string_view name) const {
  return metadata_.delete_document(kTokens, name);
}

std::string mark_of(const Token& token, std::string_view password, WallTime now) {
  const auto hash = access::hash_secret(password);
  const bool counts = std::ranges::any_of(token.passwords, [&](const TokenPassword& each) {
    return access::same_secret(each.hash, hash) && (!each.expires || now < *each.expires);
  });
  return counts ? hash.substr(0, kMarkDigits) : std::string();
}

bool has_marked(const Token& token, std::string_view mark, WallTime now) {
  return std::ranges::any_of(token.passwords, [&](const TokenPassword& each) {
    return std::string_view(each.hash).substr(0, kMarkDigits) == mark && !mark.empty() &&
           (!each.expires || now < *each.expires);
  });
}

}  // namespace runnel::registry
