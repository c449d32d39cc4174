// SPDX-License-Identifier: BSD-2-Clause
/* test_cxx.cpp - leasefs.hpp: what goes out of scope is given back. TAP by hand. */
#include <cstdio>
#include <cstring>
#include <leasefs/leasefs.hpp>
#include <unistd.h>

extern "C" {
#include "bed.h"
}

static int number, failed;

static void is_true(bool ok, const char *what)
{
	std::printf("%sok %d - %s\n", ok ? "" : "not ", ++number, what);
	failed += !ok;
}

static void use(int fd)
{
	leasefs::session session(bed_mount);
	{
		leasefs::lease lease = session.take(fd, 0, 4 * BLOCK, LEASEFS_TAKE_WRITE);
		auto *memory = static_cast<char *>(lease.map());
		leasefs::pin pin(lease);

		std::memset(memory, 'c', 4 * BLOCK);
		lease.persist(memory, 4 * BLOCK);
		lease.commit(0, 0, 4 * BLOCK);
		is_true(pin.held(), "pin_is_held");
		is_true(lease.layout().size() >= 1, "layout_is_a_vector");
		is_true(bed_other("truncate", bed_path("cxx"), 0, 0) == EBUSY, "pin_is_in_the_way");
	}
	is_true(bed_other("check", bed_path("cxx"), BLOCK, 'c') == 0, "commit_is_seen");
	is_true(bed_other("truncate", bed_path("cxx"), 0, 0) == 0, "scope_gives_back");
}

int main()
{
	bed_start("policy=recall:100ms/busy", "128M");
	const int fd = bed_file("cxx", 0);
	bool thrown = false;

	use(fd);
	close(fd);
	try {
		leasefs::session none(std::string("/proc"));
	} catch (const std::system_error &e) {
		thrown = e.code().value() == ENOTTY;
	}
	is_true(thrown, "errors_are_system_errors");
	std::printf("1..%d\n", number);
	if (!failed)
		bed_stop();
	return failed;
}
