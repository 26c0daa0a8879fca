// The course of a counter, as a line.

import { useQuery } from "@tanstack/react-query";

import { queries } from "../dormouse";

const OPERATIONS = 30;
const WIDTH = 100;
const HEIGHT = 24;

export function Sparkline({ name }: { name: string }) {
  const { data } = useQuery(queries.query("counter", name, "getHistory", { limit: OPERATIONS }));
  const values = data?.operations.map(({ value }) => value).reverse() ?? [];
  const low = Math.min(...values);
  const range = Math.max(...values) - low || 1;
  const points = values.map((value, index) => {
    const x = (index / Math.max(values.length - 1, 1)) * WIDTH;
    const y = HEIGHT - 2 - ((value - low) / range) * (HEIGHT - 4);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  return (
    <svg className="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {points.length > 1 && <polyline points={points.join(" ")} />}
    </svg>
  );
}
