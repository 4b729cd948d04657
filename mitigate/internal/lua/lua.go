// Package lua holds what the scripts for HAProxy (Lua 5.3 or later) and nginx (LuaJIT, Lua
// 5.1) have in common: how a request's fingerprint, host and path are written, and which
// members of a predicate it has. Each script is [Shared] with its own part behind it, so
// that two load balancers can't come to differ.
//
// It is source text, not run here: the tests of the targets run it in the real programs,
// against the fingerprint's test vectors.
package lua

import _ "embed"

// Shared is the beginning of a script. What it declares is local to the chunk.
//
//go:embed shared.lua
var Shared string
