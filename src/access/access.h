// access/ decides who may do what in a registry, without knowing HTTP or a database.
//
// action.h    what can be done to a repository, as sets, and their names on the wire
// scope.h     the scopes of the Docker token flow
// grant.h     "these actions in these repositories": roles, scope maps, limits of tokens
// htpasswd.h  people and their passwords
// token.h     what the registry signs and later believes
// secret.h    passwords that the registry makes up
//
// It does not hold: where tokens and scope maps are kept (meta/), requests and answers (registry/).
// Everything here may be used from any thread unless it says otherwise.
#pragma once

#include "access/action.h"
#include "access/grant.h"
#include "access/htpasswd.h"
#include "access/scope.h"
#include "access/secret.h"
#include "access/token.h"
