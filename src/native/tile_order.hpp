// Tiles of the points, in the order in which they are computed.
#pragma once

#include <algorithm>
#include <cstdint>

namespace atrous {

// The points form lines, like the pixels of an image; a tile is a rectangle of them. Neighboring pixels share
// lattice vertices, so the vertices that a tile touches stay in the second-level cache.
//
// The tiles depend on the number of points and the length of a line only, never on threads. So do the order
// of all sums and the bits of the results.
class Tiles {
  public:
    static constexpr std::int64_t kWidest = 64, kTallest = 60;
    static constexpr std::int64_t kMost = kWidest * kTallest;  // points in a tile

    // most: points in a tile.
    explicit Tiles(std::int64_t points = 0, std::int64_t line = 0, std::int64_t most = kMost)
        : points_(points),
          most_(most),
          line_(line >= kThinnest && line < points ? line : std::max<std::int64_t>(points, 1)) {
        const std::int64_t lines = (points_ + line_ - 1) / line_;
        // Balanced, so that no sliver remains at the end; but whole packs of points along the lines of an
        // image.
        const std::int64_t widest = std::min(kWidest, most), tallest = most / widest;
        const std::int64_t tall = even(lines, tallest);
        const std::int64_t wide = tall < tallest / 2 ? even(line_, most / tall) : std::min(line_, widest);
        height_ = tall;
        width_ = wide;
        across_ = (line_ + wide - 1) / wide;
        down_ = lines == 0 ? 0 : (lines + tall - 1) / tall;
    }

    std::int64_t points() const { return points_; }
    std::int64_t line() const { return line_; }
    std::int64_t count() const { return across_ * down_; }
    std::int64_t across() const { return across_; }  // tiles in a row
    std::int64_t width() const { return width_; }
    std::int64_t height() const { return height_; }
    std::int64_t top(std::int64_t tile) const { return tile / across_ * height_; }
    std::int64_t left(std::int64_t tile) const { return tile % across_ * width_; }

    // Number of the tile's first point if points are numbered tile by tile.
    std::int64_t offset(std::int64_t tile) const {
        const std::int64_t row = tile / across_, first = row * height_ * line_;
        if (first >= points_) return points_;
        const std::int64_t last = std::min((row + 1) * height_ * line_, points_);
        const std::int64_t left = tile % across_ * width_;
        // Only the last line may be shorter than the others.
        const std::int64_t whole = (last - first) / line_, rest = (last - first) % line_;
        return first + whole * left + std::min(rest, left);
    }

    // Calls visit(begin, end) for each run of consecutive points, from the first line to the last.
    template <class Visit>
    void segments(std::int64_t tile, const Visit& visit) const {
        const std::int64_t first = top(tile), begin = left(tile), right = std::min(begin + width_, line_);
        for (std::int64_t y = first; y < first + height_ && y * line_ + begin < points_; ++y)
            visit(y * line_ + begin, std::min(y * line_ + right, points_));
    }

    // Prefetches the rows of the next line's points: lines of a tile are too short for the hardware
    // prefetcher.
    void prefetch_next([[maybe_unused]] const float* rows, [[maybe_unused]] std::int64_t width,
                       [[maybe_unused]] std::int64_t begin, [[maybe_unused]] std::int64_t end) const {
#if defined(__GNUC__) || defined(__clang__)
        if (end + line_ > points_) return;
        const float* from = rows + (begin + line_) * width;
        for (std::int64_t f = 0; f < (end - begin) * width; f += 16) __builtin_prefetch(from + f);
#endif
    }

    friend bool operator==(const Tiles& a, const Tiles& b) {
        return a.points_ == b.points_ && a.line_ == b.line_ && a.most_ == b.most_;
    }

  private:
    static constexpr std::int64_t kThinnest = 16;  // thinner images are one line

    static std::int64_t even(std::int64_t length, std::int64_t most) {
        if (length <= 0) return 1;
        const std::int64_t pieces = (length + most - 1) / most;
        return (length + pieces - 1) / pieces;
    }

    std::int64_t points_, most_, line_;
    std::int64_t height_ = 1, width_ = 1, across_ = 1, down_ = 0;
};

}  // namespace atrous
