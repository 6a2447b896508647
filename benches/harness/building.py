"""Builds small projects from nothing, and reads what cargo says about it."""

import json
import os
import re
import resource
import shutil
import subprocess
import tarfile
import time

from harness.programs import BENCHES, BUILD_LIMIT, Failed

ROOT = BENCHES.parent
ALONE = """fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        Ok(())
    })
}
"""


def publish(scratch):
    """Makes the library, and all it needs, look as if it came from the registry.

    Cargo compiles what has a path incrementally, which takes half as long again; nobody who uses
    the library has it by a path.
    """
    packed = ["cargo", "package", "--no-verify", "--allow-dirty", "--quiet"]
    packages = ["tcs-macros", "tcs"]
    output([*packed, "--package", packages[0], "--package", packages[1]], ROOT, scratch / "packed")
    needing = project(scratch / "needing", [f'tcs = {{ path = "{ROOT / "tcs"}" }}'], ALONE)
    sources = scratch / "sources"
    output(["cargo", "vendor", "--quiet", sources], needing)
    for package in packages:
        (crate,) = (scratch / "packed" / "package").glob(f"{package}-[0-9]*.crate")
        with tarfile.open(crate) as archive:
            archive.extractall(sources, filter="data")
        (sources / crate.stem / ".cargo-checksum.json").write_text('{"files": {}}')
    (scratch / ".cargo").mkdir()
    (scratch / ".cargo" / "config.toml").write_text(
        '[source.crates-io]\nreplace-with = "sources"\n'
        f'[source.sources]\ndirectory = "{sources}"\n'
    )


def hello(scratch):
    """Makes a project of the example `hello`, whose one dependency is the library."""
    main = (ROOT / "examples" / "hello.rs").read_text()
    return project(scratch / "hello", ['tcs = "*"'], main)


def tokio_and_syn(scratch):
    """Makes a project with tokio and syn and the features that the library wants of them."""
    dependencies = [asked_for("tcs", "tokio"), asked_for("tcs-macros", "syn")]
    return project(scratch / "alone", dependencies, ALONE)


def asked_for(package, name):
    """Returns the line with which a package of the repository depends on another."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--offline"]
    packages = json.loads(output(command, ROOT))["packages"]
    for dependency in next(each for each in packages if each["name"] == package)["dependencies"]:
        if dependency["name"] == name and not dependency["kind"] and not dependency["optional"]:
            defaults = str(dependency["uses_default_features"]).lower()
            features = json.dumps(dependency["features"])
            version = dependency["req"]
            return (
                f'{name} = {{ version = "{version}", default-features = {defaults}, '
                f"features = {features} }}"
            )
    raise Failed(f"{package} does not depend on {name}")


def project(at, dependencies, main):
    """Makes a project with the versions of the repository's lock file."""
    (at / "src").mkdir(parents=True)
    (at / "src" / "main.rs").write_text(main)
    package = ['name = "measured"', 'version = "0.0.0"', 'edition = "2024"']
    parts = ["[workspace]", "[package]", *package, "[dependencies]", *dependencies]
    (at / "Cargo.toml").write_text("\n".join([*parts, ""]))
    # Cargo leaves out what is not needed.
    shutil.copy(ROOT / "Cargo.lock", at / "Cargo.lock")
    return at


def crates(at):
    """Counts what is built beside the project itself."""
    command = ["cargo", "tree", "--offline", "-e", "normal,build", "--prefix", "none"]
    lines = output(command, at).splitlines()
    return len({line.removesuffix(" (*)") for line in lines}) - 1


def build(at, target, *more):
    """Builds a project in a directory that is not there yet, and returns how long it took."""
    shutil.rmtree(target, ignore_errors=True)
    before, start = spent(), time.monotonic()
    output(["cargo", "build", "--offline", "--quiet", *more], at, target)
    return {"seconds": time.monotonic() - start, "processor": spent() - before}


def spent():
    """Returns the processor time of all programs that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def output(command, where, target=None):
    # A cache of compiled crates would leave nothing to measure.
    environment = {name: value for name, value in os.environ.items() if "WRAPPER" not in name}
    environment["CARGO_TARGET_DIR"] = str(target or where / "target")
    done = subprocess.run(
        command, cwd=where, env=environment, capture_output=True, text=True, timeout=BUILD_LIMIT
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def timings(at, target):
    """Builds with `--timings`; returns what was compiled, in the order in which it ended.

    What the last of them waited for is marked as critical, and what that waited for, and so on.
    """
    build(at, target, "--timings")
    page = (target / "cargo-timings" / "cargo-timing.html").read_text()
    units = json.loads(re.search(r"UNIT_DATA = (\[.*?\]);", page, re.DOTALL)[1])
    by_number = {unit["i"]: unit for unit in units}
    found = {
        number: {
            "unit": f"{unit['name']}{unit['target']}",
            "start": unit["start"],
            "metadata": None if unit.get("rmeta_time") is None else unit["rmeta_time"],
            "seconds": unit["duration"],
            "critical": False,
        }
        for number, unit in by_number.items()
    }
    waited_for = {}
    for number, unit in by_number.items():
        for later in unit.get("unlocked_units", []) + unit.get("unblocked_units", []):
            waited_for[later] = number
        for later in unit.get("unlocked_rmeta_units", []) + unit.get("unblocked_rmeta_units", []):
            waited_for[later] = number
    last = max(by_number, key=lambda number: found[number]["start"] + found[number]["seconds"])
    while last is not None:
        found[last]["critical"] = True
        last = waited_for.get(last)
    return sorted(found.values(), key=lambda unit: unit["start"] + unit["seconds"])


def table(units):
    yield f"{'* the last one waited for these':<44}{'start':>8}{'metadata':>10}{'end':>8}"
    for unit in units:
        start, end = unit["start"], unit["start"] + unit["seconds"]
        metadata = "" if unit["metadata"] is None else f"{start + unit['metadata']:.2f}"
        mark = "* " if unit["critical"] else "  "
        yield f"{mark + unit['unit']:<44}{start:>8.2f}{metadata:>10}{end:>8.2f}"
