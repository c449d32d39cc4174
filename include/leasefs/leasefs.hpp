/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * leasefs.hpp - leasefs.h for C++17: what is taken is given back when its owner goes out of scope.
 *
 *     leasefs::session session(fd);
 *     leasefs::lease lease = session.take(fd, 0, bytes, LEASEFS_TAKE_WRITE);
 *     auto *memory = static_cast<char *>(lease.map());
 *     {
 *             leasefs::pin pin(lease);
 *             ...
 *     }
 *     lease.commit(0, 0, bytes);
 *
 * Errors are std::system_error with the errno, but for what an ordinary program meets in the course
 * of things: try_* return false. Objects move and do not copy. A destructor that can't give back
 * (pinned) leaves it to the session's: leasefs_close_session(). Leases go before their session,
 * pins before their lease; threads and forks are as in leasefs.h.
 */
#ifndef LEASEFS_LEASEFS_HPP
#define LEASEFS_LEASEFS_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <leasefs/leasefs.h>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace leasefs
{

/* Returns what is no error. */
inline int check(int result, const char *what)
{
	if (result < 0)
		throw std::system_error(-result, std::generic_category(), what);
	return result;
}

class lease
{
      public:
	explicit lease(::leasefs_lease *handle = nullptr) noexcept : handle_(handle) {}
	lease(lease &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
	lease &operator=(lease &&other) noexcept
	{
		std::swap(handle_, other.handle_);
		return *this;
	}
	~lease()
	{
		if (handle_)
			(void)::leasefs_return_lease(handle_);
	}

	::leasefs_lease *get() const noexcept { return handle_; }
	explicit operator bool() const noexcept { return handle_ != nullptr; }

	void give_back()
	{
		if (handle_)
			check(::leasefs_return_lease(handle_), "leasefs_return_lease");
		handle_ = nullptr;
	}
	void give_back(std::uint64_t offset, std::uint64_t length)
	{
		check(::leasefs_return_range(handle_, offset, length), "leasefs_return_range");
	}
	void *map(unsigned flags = 0)
	{
		void *address = nullptr;

		check(::leasefs_map_lease(handle_, flags, &address), "leasefs_map_lease");
		return address;
	}
	void unmap() { check(::leasefs_unmap_lease(handle_), "leasefs_unmap_lease"); }
	void refresh() { check(::leasefs_refresh_lease(handle_), "leasefs_refresh_lease"); }
	void acknowledge()
	{
		check(::leasefs_acknowledge_lease(handle_), "leasefs_acknowledge_lease");
	}
	void downgrade(unsigned flags = 0)
	{
		check(::leasefs_downgrade_lease(handle_, flags), "leasefs_downgrade_lease");
	}
	void persist(const void *address, std::size_t length)
	{
		check(::leasefs_persist_range(handle_, address, length), "leasefs_persist_range");
	}
	void commit(std::uint64_t offset = 0, std::uint64_t length = 0, std::uint64_t size = 0)
	{
		check(::leasefs_commit_range(handle_, offset, length, size),
			"leasefs_commit_range");
	}
	::leasefs_lease_state state() const
	{
		::leasefs_lease_state out;

		check(::leasefs_get_lease(handle_, &out), "leasefs_get_lease");
		return out;
	}
	std::vector<::leasefs_extent> layout() const
	{
		const ::leasefs_lease_state all = state();
		std::vector<::leasefs_extent> out;
		std::uint64_t at = all.offset;

		while (at < all.offset + all.length) {
			::leasefs_extent page[64];
			const int n = check(::leasefs_get_layout(handle_, at, page, 64, &at),
				"leasefs_get_layout");

			out.insert(out.end(), page, page + n);
		}
		return out;
	}

      private:
	::leasefs_lease *handle_;
};

/* A pin of a whole lease; `held` is false where a recall came first. */
class pin
{
      public:
	explicit pin(lease &of) : handle_(of.get())
	{
		const int result = ::leasefs_pin_lease(handle_);

		if (result == -EAGAIN)
			handle_ = nullptr;
		else
			check(result, "leasefs_pin_lease");
	}
	pin(pin &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
	pin(const pin &) = delete;
	pin &operator=(const pin &) = delete;
	~pin()
	{
		if (handle_)
			(void)::leasefs_unpin_lease(handle_);
	}
	bool held() const noexcept { return handle_ != nullptr; }

      private:
	::leasefs_lease *handle_;
};

class session
{
      public:
	explicit session(int fd, unsigned flags = 0)
	{
		check(::leasefs_open_session_at(fd, flags, &handle_), "leasefs_open_session_at");
	}
	explicit session(const std::string &path, unsigned flags = 0)
	{
		check(::leasefs_open_session(path.c_str(), flags, &handle_), path.c_str());
	}
	session(session &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
	session &operator=(session &&other) noexcept
	{
		std::swap(handle_, other.handle_);
		return *this;
	}
	~session()
	{
		if (handle_)
			(void)::leasefs_close_session(handle_);
	}

	::leasefs_session *get() const noexcept { return handle_; }
	int event_fd() const { return ::leasefs_get_event_fd(handle_); }

	lease take(int fd, std::uint64_t offset, std::uint64_t length, unsigned flags)
	{
		::leasefs_lease *out = nullptr;

		check(::leasefs_take_lease(handle_, fd, offset, length, flags, &out),
			"leasefs_take_lease");
		return lease(out);
	}
	/* Empty where somebody is in the way: LEASEFS_EVENT_AVAILABLE will come. */
	std::optional<lease> try_take(
		int fd, std::uint64_t offset, std::uint64_t length, unsigned flags)
	{
		::leasefs_lease *out = nullptr;
		const int result =
			::leasefs_take_lease(handle_, fd, offset, length, flags, &out);

		if (result == -EAGAIN)
			return std::nullopt;
		check(result, "leasefs_take_lease");
		return lease(out);
	}
	lease map_managed(int fd, std::uint64_t offset, std::uint64_t length, unsigned flags,
		void **address)
	{
		::leasefs_lease *out = nullptr;

		check(::leasefs_map_managed(handle_, fd, offset, length, flags, &out, address),
			"leasefs_map_managed");
		return lease(out);
	}
	/* False: there is none. */
	bool next_event(::leasefs_event &event, ::leasefs_lease *&about)
	{
		const int n = ::leasefs_next_event(handle_, &event, &about);
		return check(n, "leasefs_next_event") > 0;
	}

      private:
	::leasefs_session *handle_ = nullptr;
};

} /* namespace leasefs */

#endif
