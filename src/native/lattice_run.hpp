// Filtering on a lattice that is built; the end of lattice.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "lattice.hpp"
#include "sheets.hpp"

namespace atrous {

// Rows of the vertices, and of what each tile holds of them.
class Lattice::Vertices {
  public:
    Vertices(const Lattice& lattice, std::int64_t width) : lattice_(lattice), width_(width) {
        const auto row = static_cast<std::size_t>(width);
        tile_values_ = Buffer<float>((lattice.row_vertex_.size() + 1) * row);
        for (Buffer<float>* values : {&values_, &other_})
            *values = Buffer<float>((std::size_t{lattice.vertices_} + 1) * row);
        narrow(width);
    }

    // The same memory for narrower rows.
    void narrow(std::int64_t width) {
        width_ = width;
        for (Buffer<float>* values : {&values_, &other_}) std::fill_n(values->data(), width, 0.0f);
    }

    const float* values() const { return values_.data(); }

    float* rows_of(std::int64_t tile) {
        return tile_values_.data() +
               (lattice_.tile_start_[static_cast<std::size_t>(tile)] + 1) * static_cast<std::size_t>(width_);
    }

    // Sums what the tiles hold, and blurs.
    void spread(Team& team) {
        const InnerLoops& loops = lattice_.loops_;
        const std::int64_t vertices = lattice_.vertices_;
        const std::int64_t grain = std::clamp<std::int64_t>((1 << 16) / width_, 64, 1 << 13);
        team.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
            loops.sum(begin + 1, end + 1, lattice_.vertex_start_.data(), lattice_.vertex_row_.data(),
                      tile_values_.data(), values_.data(), width_);
        });
        const StencilLinks& around = lattice_.around_;
        if (!around.empty()) {
            team.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
                loops.weighted_sum(begin + 1, end + 1, around.start(), around.vertex(), around.weight(),
                                   values_.data(), other_.data(), width_);
            });
            std::swap(values_, other_);
            return;
        }
        for (int axis = 0; axis < lattice_.corners_; ++axis) {
            const std::uint32_t* links = lattice_.neighbours_.data() + 2 * axis * (vertices + 1);
            team.for_ranges(vertices, grain, [&](std::int64_t begin, std::int64_t end) {
                loops.blur(begin + 1, end + 1, links, values_.data(), other_.data(), width_);
            });
            std::swap(values_, other_);
        }
    }

  private:
    const Lattice& lattice_;
    std::int64_t width_;
    Buffer<float> tile_values_;     // rows of the tiles, from 1
    Buffer<float> values_, other_;  // rows of the vertices, from 1; each begins with one of zeros
};

class Lattice::Run final : public Filtering {
  public:
    Run(const Lattice& lattice, std::int64_t width)
        : lattice_(lattice), width_(width), vertices_(lattice, width) {}

    void put(std::int64_t tile, const float* rows) override {
        const int corners = lattice_.corners_;
        float* sums = vertices_.rows_of(tile);
        std::fill_n(sums, lattice_.tile_rows(tile) * static_cast<std::size_t>(width_), 0.0f);
        std::int64_t at = lattice_.tiles_.offset(tile) * corners;
        lattice_.tiles_.segments(tile, [&](std::int64_t begin, std::int64_t end) {
            lattice_.loops_.splat(end - begin, corners, lattice_.corner_row_.data() + at,
                                  lattice_.corner_weight_.data() + at, rows + begin * width_, sums, width_);
            at += (end - begin) * corners;
        });
    }

    void spread(Team& team, const float*) override { vertices_.spread(team); }

    std::size_t scratch() const override {
        return copies() ? lattice_.most_rows_ * static_cast<std::size_t>(width_) : 0;
    }

    void visit(std::int64_t tile, float* scratch) const override {
        if (!copies()) return;
        lattice_.loops_.copy(static_cast<std::int64_t>(lattice_.tile_rows(tile)), lattice_.vertices_of(tile),
                             lattice_.scale_, vertices_.values(), scratch, width_);
    }

    const float* read(std::int64_t tile, std::int64_t place, std::int64_t begin, std::int64_t end,
                      float* scratch, float* out) const override {
        const std::int64_t at = (lattice_.tiles_.offset(tile) + place) * lattice_.corners_;
        const std::uint16_t* corner_rows = lattice_.corner_row_.data() + at;
        const float* weights = lattice_.corner_weight_.data() + at;
        if (copies())
            lattice_.loops_.slice(end - begin, lattice_.corners_, corner_rows, weights, scratch, out, width_);
        else
            lattice_.loops_.slice_far(end - begin, lattice_.corners_, corner_rows, weights,
                                      lattice_.vertices_of(tile), lattice_.scale_, vertices_.values(), out,
                                      width_);
        return out;
    }

  private:
    // Wide rows are worth no copy: a tile's would not fit the cache.
    bool copies() const { return width_ <= 64; }

    const Lattice& lattice_;
    std::int64_t width_;
    Vertices vertices_;
};

// The vertices have all columns, a tile's rows those of its sheet.
class Lattice::SheetRun final : public SheetFiltering {
  public:
    SheetRun(const Lattice& lattice, std::int64_t width)
        : lattice_(lattice), width_(width), vertices_(lattice, width) {}

    std::size_t scratch(std::int64_t width) const override {
        return std::max(lattice_.most_rows_ * static_cast<std::size_t>(width),
                        lattice_.most_rows_ + static_cast<std::size_t>(Tiles::kMost));
    }

    void put(const Sheets& sheets, std::int64_t tile, const float* rows, float* scratch) override {
        const InnerLoops& loops = lattice_.loops_;
        const Sheet& sheet = sheets[tile];
        const std::int64_t points = sheets.points(tile), first = lattice_.tiles_.offset(tile);
        const auto held = static_cast<std::int64_t>(lattice_.tile_rows(tile));
        const std::uint16_t* corner_rows = lattice_.corner_row_.data() + first * lattice_.corners_;
        const float* weights = lattice_.corner_weight_.data() + first * lattice_.corners_;
        const std::int64_t width = sheet.decided() ? 1 : sheet.width;
        const float* from = rows + sheet.start;
        if (sheet.decided()) from = std::fill_n(scratch + held, points, 1.0f) - points;
        std::fill_n(scratch, held * width, 0.0f);
        loops.splat(points, lattice_.corners_, corner_rows, weights, from, scratch, width);
        loops.expand(held, scratch, width, sheet.columns.data(), sheet.count(), vertices_.rows_of(tile),
                     width_);
    }

    void narrow(std::int64_t width) override {
        width_ = width;
        vertices_.narrow(width);
    }

    void spread(Team& team) override { vertices_.spread(team); }

    void visit(const Sheets& sheets, std::int64_t tile, const float*, float* scratch) const override {
        const Sheet& sheet = sheets[tile];
        lattice_.loops_.copy_columns(static_cast<std::int64_t>(lattice_.tile_rows(tile)),
                                     lattice_.vertices_of(tile), lattice_.scale_, vertices_.values(), width_,
                                     sheet.columns.data(), sheet.count(), scratch, sheet.width);
    }

    const float* read(const Sheets& sheets, std::int64_t tile, std::int64_t place, std::int64_t begin,
                      std::int64_t end, float* scratch, float* out) const override {
        const std::int64_t at = (lattice_.tiles_.offset(tile) + place) * lattice_.corners_;
        lattice_.loops_.slice(end - begin, lattice_.corners_, lattice_.corner_row_.data() + at,
                              lattice_.corner_weight_.data() + at, scratch, out, sheets[tile].width);
        return out;
    }

  private:
    const Lattice& lattice_;
    std::int64_t width_;
    Vertices vertices_;
};

inline std::unique_ptr<Filtering> Lattice::start(std::int64_t width) const {
    return std::make_unique<Run>(*this, width);
}

inline std::unique_ptr<SheetFiltering> Lattice::start_sheets(std::int64_t width) const {
    return std::make_unique<SheetRun>(*this, width);
}

}  // namespace atrous
