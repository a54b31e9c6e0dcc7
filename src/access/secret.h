// Secrets that the registry makes up, and comparing secrets.
#pragma once

#include <string>
#include <string_view>

namespace runnel::access {

// 256 random bits as 43 letters, digits, "-" and "_". Aborts when the kernel has no randomness.
std::string make_secret();

// SHA-256 in hex. Enough to store a secret of make_secret(), which nobody can guess; a person's
// password needs bcrypt (htpasswd.h).
std::string hash_secret(std::string_view secret);

// Equal; the time does not tell where the first difference is.
bool same_secret(std::string_view a, std::string_view b);

}  // namespace runnel::access
