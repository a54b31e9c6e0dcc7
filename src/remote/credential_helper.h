// docker-credential-NAME: a program that keeps passwords for docker, podman and us.
//
//   docker-credential-NAME get   <- the server on standard input
//                                -> {"ServerURL": …, "Username": …, "Secret": …}
//
// A user name of "<token>" means that the secret is an identity token. A program that knows no
// password for the server exits with 1 and says "credentials not found …".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "remote/child_program.h"
#include "remote/credentials.h"

namespace runnel::remote {

// Runs the helper, found through PATH. Blocks until it ends or the time is over; it is killed then,
// with everything it started. kInvalid when `name` is no plain word or the answer is not the
// protocol's; the error never holds what the program wrote, which may be the secret.
Result<std::optional<Credential>> ask_credential_helper(std::string_view name,
                                                        std::string_view server,
                                                        const ProgramLimits& limits = {});

// What `get` wrote when it ended well. Nothing when there is no secret in it; errors as above.
Result<std::optional<Credential>> parse_helper_answer(std::string_view output);

// The program of that name. kInvalid when it is no plain word.
Result<std::string> credential_program(std::string_view name);

}  // namespace runnel::remote
