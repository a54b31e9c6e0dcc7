#include "startup/startup.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/fd.h"
#include "startup/elf.h"
#include "support/sample_image.h"

namespace runnel::startup {
namespace {

using Paths = std::vector<std::string>;

// A real program, whose libraries the linker would look for.
const std::string& program() {
  static const std::string bytes = [] {
    const auto file = open_file("/proc/self/exe", O_RDONLY).value();
    std::string out(file_size(file.get()).value(), '\0');
    EXPECT_TRUE(read_exact_at(file.get(), std::as_writable_bytes(std::span(out)), 0));
    return out;
  }();
  return bytes;
}

class Startup : public testing::Test {
 protected:
  // The paths of what is guessed, each once.
  Paths guessed(const oci::Process& process) {
    auto files = image_.files();
    const auto ranges = guess(process, files);
    EXPECT_TRUE(ranges) << ranges.error().message;
    Paths out;
    for (const auto& range : *ranges) {
      EXPECT_GT(range.size, 0u);
      EXPECT_LE(range.offset + range.size, files.size(range.inode));
      const auto path = image_.path_of(range.inode);
      if (std::ranges::find(out, path) == out.end()) out.push_back(path);
    }
    return out;
  }

  test::SampleImage image_;
};

TEST_F(Startup, OfAProgramIsItAndItsLibraries) {
  image_.file("/app/server", program())
      .file("/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")
      .file("/etc/ld.so.conf.d/here.conf", "# ours\n/opt/lib\n")
      .file("/opt/lib/libc.so.6", program())
      .file("/usr/lib/libc.so.6", program())
      .file("/usr/lib/libother.so", program());

  const auto paths = guessed(
      {.arguments = {"/app/server", "--port=80"}, .environment = {}, .working_directory = ""});

  EXPECT_EQ(paths, (Paths{"/app/server", "/opt/lib/libc.so.6"}));
}

TEST_F(Startup, FindsProgramsInThePathAndLibrariesInTheDirectoriesOfTheSystem) {
  image_.file("/opt/bin/server", program())
      .file("/usr/lib/libc.so.6", program())
      .link("/usr/lib/libstdc++.so.6", "libstdc++.so.6.0.30")
      .file("/usr/lib/libstdc++.so.6.0.30", program())
      .file("/extra/libm.so.6", program());

  const auto paths = guessed({.arguments = {"server"},
                              .environment = {"PATH=relative:/opt/bin", "LD_LIBRARY_PATH=/extra"},
                              .working_directory = ""});

  ASSERT_FALSE(paths.empty());
  EXPECT_EQ(paths.front(), "/opt/bin/server");
  EXPECT_NE(std::ranges::find(paths, "/usr/lib/libc.so.6"), paths.end());
  const auto needed = read_elf([](uint64_t offset, uint64_t size) -> Result<Buffer> {
                        const auto all = as_bytes(program());
                        const auto from = std::min<uint64_t>(offset, all.size());
                        const auto part =
                            all.subspan(from, std::min<uint64_t>(size, all.size() - from));
                        return Buffer(part.begin(), part.end());
                      })
                          .value()
                          ->needed;
  const bool is_needed = std::ranges::find(needed, "libstdc++.so.6") != needed.end();
  EXPECT_EQ(std::ranges::find(paths, "/usr/lib/libstdc++.so.6.0.30") != paths.end(), is_needed);
}

TEST_F(Startup, OfAPythonScriptIsWhatItImportsAsCompiled) {
  image_.link("/usr/bin/python3", "python3.11")
      .file("/usr/bin/python3.11", program())
      .file("/usr/lib/python3.11/os.py")
      .file("/usr/lib/python3.11/encodings/__init__.py", "from . import aliases")
      .file("/usr/lib/python3.11/encodings/__pycache__/__init__.cpython-311.pyc")
      .file("/usr/lib/python3.11/encodings/aliases.py")
      .file("/usr/lib/python3.11/json/__init__.py", "from .decoder import JSONDecoder\n")
      .file("/usr/lib/python3.11/json/decoder.py", "import re\ndef f():\n  import later\n")
      .file("/usr/lib/python3.11/json/__pycache__/__init__.cpython-311.pyc")
      .file("/usr/lib/python3.11/json/__pycache__/decoder.cpython-311.pyc")
      .file("/usr/lib/python3.11/re.py", "import _speed")
      .file("/usr/lib/python3.11/later.py")
      .file("/usr/lib/python3.11/lib-dynload/_speed.cpython-311-x86_64-linux-gnu.so", program())
      .file("/usr/lib/python3/dist-packages/web/__init__.py", "from web import server")
      .file("/usr/lib/python3/dist-packages/web/server.py")
      .file("/app/main.py", "import json, web\nimport near\n")
      .file("/app/near.py")
      .file("/app/far.py");

  EXPECT_EQ(guessed({.arguments = {"python3", "-u", "main.py"},
                     .environment = {},
                     .working_directory = "/app"}),
            (Paths{"/usr/bin/python3.11",
                   "/usr/lib/python3.11/encodings/__pycache__/__init__.cpython-311.pyc",
                   "/usr/lib/python3.11/encodings/aliases.py", "/app/main.py",
                   "/usr/lib/python3.11/json/__pycache__/__init__.cpython-311.pyc",
                   "/usr/lib/python3.11/json/__pycache__/decoder.cpython-311.pyc",
                   "/usr/lib/python3.11/re.py",
                   "/usr/lib/python3.11/lib-dynload/_speed.cpython-311-x86_64-linux-gnu.so",
                   "/usr/lib/python3/dist-packages/web/__init__.py",
                   "/usr/lib/python3/dist-packages/web/server.py", "/app/near.py"}));
}

TEST_F(Startup, KnowsAVirtualEnvironmentByHowItsInterpreterIsCalled) {
  image_.file("/usr/local/bin/python3.12", program())
      .file("/usr/local/lib/python3.12/os.py")
      .link("/venv/bin/python", "/usr/local/bin/python3.12")
      .file("/venv/pyvenv.cfg", "home = /usr/local/bin")
      .file("/venv/lib/python3.12/site-packages/app/__init__.py")
      .file("/venv/lib/python3.12/site-packages/app/__main__.py", "import app.core")
      .file("/venv/lib/python3.12/site-packages/app/core.py")
      .file("/venv/bin/serve", "#!/venv/bin/python\nfrom app import core\n");

  const Paths module = guessed({.arguments = {"/venv/bin/python", "-m", "app"},
                                .environment = {},
                                .working_directory = "/"});
  const Paths script = guessed(
      {.arguments = {"serve"}, .environment = {"PATH=/venv/bin"}, .working_directory = "/"});

  EXPECT_EQ(module, (Paths{"/usr/local/bin/python3.12",
                           "/venv/lib/python3.12/site-packages/app/__init__.py",
                           "/venv/lib/python3.12/site-packages/app/__main__.py",
                           "/venv/lib/python3.12/site-packages/app/core.py"}));
  EXPECT_NE(std::ranges::find(script, "/venv/lib/python3.12/site-packages/app/core.py"),
            script.end());
}

TEST_F(Startup, OfAJavaScriptIsWhatItAsksFor) {
  image_.file("/usr/bin/node", program())
      .file("/app/package.json", "{\"main\": \"server.js\"}")
      .file("/app/server.js", "require('fs'); require('express'); import './lib'\n")
      .file("/app/lib/index.js", "require('@scope/tool/part')")
      .file("/app/node_modules/express/package.json", "{\"main\": \"./lib/express\"}")
      .file("/app/node_modules/express/lib/express.js", "require('debug')")
      .file("/app/node_modules/debug/package.json",
            "{\"exports\": {\".\": {\"types\": \"./x.d.ts\", \"require\": \"./src/node.cjs\"}}}")
      .file("/app/node_modules/debug/src/node.cjs")
      .file("/app/node_modules/@scope/tool/package.json", "not json")
      .file("/app/node_modules/@scope/tool/part.js", "require('/app/data')")
      .file("/app/data.json", "{}")
      .file("/app/other.js");

  const auto paths = guessed({.arguments = {"node", "--no-warnings", "server"},
                              .environment = {},
                              .working_directory = "/app"});

  for (const auto* each :
       {"/usr/bin/node", "/app/server.js", "/app/lib/index.js", "/app/data.json",
        "/app/node_modules/express/lib/express.js", "/app/node_modules/debug/src/node.cjs",
        "/app/node_modules/@scope/tool/part.js", "/app/node_modules/express/package.json"})
    EXPECT_NE(std::ranges::find(paths, each), paths.end()) << each;
  EXPECT_EQ(std::ranges::find(paths, "/app/other.js"), paths.end());
}

TEST_F(Startup, OfAShellScriptIsWhatItCallsAndTheCommandThatItIsGiven) {
  image_.file("/bin/sh", program())
      .file("/usr/bin/find", program())
      .file("/usr/bin/unused", program())
      .file("/usr/sbin/nginx", program())
      .file("/etc/profile")
      .file("/etc/nginx/nginx.conf")
      .file("/etc/nginx/conf.d/default.conf")
      .file("/docker-entrypoint.sh", "#!/bin/sh\n. /etc/profile\nfind / | true\nexec \"$@\"\n");

  const auto paths = guessed({.arguments = {"/docker-entrypoint.sh", "nginx", "-g", "daemon off;"},
                              .environment = {},
                              .working_directory = ""});

  EXPECT_EQ(paths, (Paths{"/docker-entrypoint.sh", "/bin/sh", "/etc/profile", "/usr/bin/find",
                          "/usr/sbin/nginx"}));
}

TEST_F(Startup, BringsTheSettingsOfAProgram) {
  image_.file("/usr/sbin/nginx", program())
      .file("/etc/passwd")
      .file("/etc/nginx/nginx.conf")
      .file("/etc/nginx/conf.d/default.conf")
      .file("/etc/nginx/huge", std::string(100'000, 'x'))
      .file("/etc/other/x");

  EXPECT_EQ(guessed({.arguments = {"nginx"}, .environment = {}, .working_directory = ""}),
            (Paths{"/etc/passwd", "/usr/sbin/nginx", "/etc/nginx/nginx.conf",
                   "/etc/nginx/conf.d/default.conf"}));
}

TEST_F(Startup, EndsForScriptsThatRunEachOther) {
  image_.file("/a", "#!/b\n").file("/b", "#!/a\n").file("/c", "#!/c x\n");

  EXPECT_EQ(guessed({.arguments = {"/a"}, .environment = {}, .working_directory = ""}),
            (Paths{"/a", "/b"}));
  EXPECT_EQ(guessed({.arguments = {"/c"}, .environment = {}, .working_directory = ""}),
            Paths{"/c"});
  EXPECT_EQ(guessed({}), Paths{});
}

TEST_F(Startup, PassesOnThatContentCannotBeRead) {
  image_.file("/a", "#!/b\n");
  ImageFiles files(
      image_.tree,
      [](uint32_t, uint64_t, uint64_t) -> Result<Buffer> { return fail(Code::kInvalid, "torn"); },
      1 << 20);

  const auto outcome =
      guess({.arguments = {"/a"}, .environment = {}, .working_directory = ""}, files);

  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().message, "torn");
}

}  // namespace
}  // namespace runnel::startup
